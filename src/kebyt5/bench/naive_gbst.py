"""GBST as a literal, unoptimized version of Charformer's equations, for tests and benchmarks.

It pads to the least common multiple of the block sizes, stacks one copy of the sequence per block
and computes the whole L x L consensus matrix, all in float32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kebyt5.models.gbst import GBST


def naive_gbst(gbst: GBST, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the same result as `gbst`, from the same parameters.

    Args:
        gbst: The layer, in evaluation mode if it has batch normalization.
        input_ids: (B, L) byte ids.
        attention_mask: (B, L), ones followed by zeros.

    Returns:
        The output (B, n, D) and its mask (B, n), n = ceil(L / downsample_factor).
    """
    candidates, _, weights, mask = naive_blocks(gbst, input_ids, attention_mask)

    # Mix the candidates and pool.
    d = gbst.downsample_factor
    mixed = (candidates * weights[..., None]).sum(dim=2) * mask[:, :, None]
    pooled = mixed.unflatten(1, (-1, d)).sum(dim=2)
    counts = mask.unflatten(1, (-1, d)).sum(dim=2)
    n = -(-input_ids.shape[1] // d)
    output = pooled / counts.clamp(min=1)[:, :, None]
    return output[:, :n], (counts > 0)[:, :n]


def naive_blocks(
    gbst: GBST, input_ids: Tensor, attention_mask: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Computes the candidates of `gbst` and their weights.

    Args:
        gbst: The layer, in evaluation mode if it has batch normalization.
        input_ids: (B, L) byte ids.
        attention_mask: (B, L), ones followed by zeros.

    Returns:
        Block means (B, N, M, D), their weights (B, N, M) before and after consensus, and the mask
        (B, N), where N is L rounded up to a multiple of all block sizes.
    """
    length, d = input_ids.shape[1], gbst.downsample_factor
    multiple = math.lcm(d, *(size for size, _ in gbst.blocks))
    mask = F.pad(attention_mask.float(), (0, -length % multiple))
    ids = F.pad(input_ids, (0, -length % multiple))

    # Embed, convolve ahead, project.
    convolution = gbst.convolution
    kernel_size = convolution.convol.kernel_size[0]
    x = gbst.embeds(ids) * mask[:, :, None]
    x = F.pad(x, (0, 0, 0, kernel_size - 1)).transpose(1, 2)
    x = F.conv1d(x, convolution.convol.weight, convolution.convol.bias, groups=x.shape[1])
    if convolution.bn is not None:
        x = convolution.bn(x)
    x = (
        F.conv1d(x, convolution.proj.weight, convolution.proj.bias).transpose(1, 2)
        * mask[:, :, None]
    )

    # One copy of the sequence per block, each byte replaced by the mean of its block.
    means, present = [], []
    for size, offset in gbst.blocks:
        shift = size - offset if offset else 0
        blocks = F.pad(x, (0, 0, shift, size - shift)).unflatten(1, (-1, size))
        counts = F.pad(mask, (shift, size - shift)).unflatten(1, (-1, size)).sum(dim=2)
        mean = blocks.sum(dim=2) / counts.clamp(min=1)[:, :, None]
        inside = slice(shift, shift + x.shape[1])
        means.append(mean.repeat_interleave(size, dim=1)[:, inside])
        present.append((counts > 0).repeat_interleave(size, dim=1)[:, inside])
    candidates = torch.stack(means, dim=2)  # (B, L, M, D)

    # Score, choose softly, let the choices agree.
    lowest = torch.finfo(candidates.dtype).min
    scores = F.linear(candidates, gbst.scoring.weight, gbst.scoring.bias)[..., 0]
    weights = scores.masked_fill(~torch.stack(present, dim=2), lowest).softmax(dim=2)
    if not gbst.consensus:
        return candidates, weights, weights, mask
    similarity = weights @ weights.transpose(1, 2)
    pairs = (mask[:, :, None] * mask[:, None, :]).bool()
    agreed = similarity.masked_fill(~pairs, lowest).softmax(dim=2) @ weights
    return candidates, weights, agreed, mask
