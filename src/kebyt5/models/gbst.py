"""Gradient-based subword tokenization (GBST) in linear memory.

Charformer (Tay et al., 2022, sec. 2.1) scores candidate blocks of bytes, mixes their means
softly at every byte and pools the result. Written down directly, that stacks one copy of the
sequence per block size. Three observations make it cheap, and none changes the result:

* A block is scored by a linear form of its mean, so its score is the block mean of one scalar
  sequence.
* Mixing and pooling are linear in the byte representations X, with weights that depend on the
  scores: output = A X, where row j of A covers bytes near j * downsample_factor only.
* Consensus (eq. 5) is an attention of the block distributions to themselves, for which fused
  kernels need no L x L matrix, and in few dimensions it is a polynomial (see `consensus`).

Where nothing needs X itself, it is not computed at all: see `folding`.

The batch is laid out as one long sequence with gaps of zeros between the examples, wide enough
for the convolution and for A never to reach from one example into the next. Hence an output
cannot depend on padding or on its neighbours in the batch.

Shapes: B examples, L bytes, D model dimensions, V vocabulary, M blocks (size b, offset o),
d downsampling factor, n = ceil(L / d) output positions.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autocast import without_autocast
from .banded import BandedLookup, BandedProduct
from .consensus import PolynomialConsensus, monomial_count
from .fast_path import fast_path, is_traced
from .folding import FoldedTables, TableKernel, Tables, Weights, check_ids, is_constant
from .hooks import is_hooked

TILE_ROWS = 16
"""Output positions per dense tile of the banded product, few enough for tiles to fit in cache."""


class Layout(NamedTuple):
    """Positions of the examples in the long sequence; `reach` zeros precede each."""

    reach: int  # the largest block size - 1: how far a block or the convolution looks
    tile: int  # bytes per tile, TILE_ROWS * d or more
    stride: int  # bytes from one example to the next, a multiple of `tile`


# Each layer below computes with its own weights, so that whatever wraps or hooks a module (LoRA,
# offloading, sharding, quantization) takes effect; their state has the published shapes.


class LookAheadConvolution(nn.Conv1d):
    """A depthwise convolution of a sequence (N + kernel_size - 1, D) to (N, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolves; output n sees inputs n to n + kernel_size - 1."""
        # As a two-dimensional convolution the sequence stays in (position, channel) order, for
        # which there are fast depthwise kernels; conv1d would transpose it and back.
        x = x.t()[None, :, None]
        return F.conv2d(x, self.weight[:, :, None], self.bias, groups=self.groups)[0, :, 0].t()


class PointwiseConvolution(nn.Conv1d):
    """A linear map (N, D) to (N, D) whose weight has the published shape (D, D, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Projects every position."""
        return F.linear(x, self.weight[:, :, 0], self.bias)


class BlockScore(nn.Linear):
    """A linear form, computed in float32 or better whatever the dtype of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, D) to (N, 1)."""
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class PositionalConvolution(nn.Module):
    """A depthwise convolution that looks ahead, and a projection: X_t = P (sum_k w_k e_{t+k})."""

    def __init__(self, d_model: int, kernel_size: int, batchnorm: bool) -> None:
        super().__init__()
        self.convol = LookAheadConvolution(d_model, d_model, kernel_size, groups=d_model)
        self.bn = nn.BatchNorm1d(d_model) if batchnorm else None
        self.proj = PointwiseConvolution(d_model, d_model, 1)

    def forward(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Maps embeddings (N + kernel_size - 1, D), zero where masked, to X (N, D).

        Args:
            embeds: Byte embeddings.
            mask: (N,), true for positions that batch statistics are taken over.
        """
        x = self.convol(embeds)
        if self.bn is not None:
            x = torch.where(mask[:, None], self._normalize(x, mask), 0)
        return self.proj(x)

    def _normalize(self, x: Tensor, mask: Tensor) -> Tensor:
        assert self.bn is not None
        if not self.bn.training:
            return self.bn(x)
        # Padding must not shift the batch statistics.
        return x.masked_scatter(mask[:, None], self.bn(x[mask]))


class GBST(nn.Module):
    """Scores, mixes and pools blocks of bytes (Charformer, sec. 2.1); see the module docstring.

    The parameters carry the names of the published checkpoints.

    Args:
        vocab_size: Number of ids, V.
        d_model: Dimensions of the embeddings, D.
        blocks: Pairs of size and offset. With offset o > 0 the first block ends after o bytes.
        downsample_factor: Bytes per output position, d.
        consensus: Whether block scores attend to each other (eq. 5).
        batchnorm: Whether the convolution is followed by batch normalization.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        blocks: tuple[tuple[int, int], ...],
        downsample_factor: int,
        consensus: bool = True,
        batchnorm: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.downsample_factor = downsample_factor
        self.consensus = consensus
        kernel_size = max(size for size, _ in blocks)
        self.embeds = nn.Embedding(vocab_size, d_model)
        # The keys "2" and "0" are places in the published nn.Sequential, whose other members
        # have no parameters.
        self.positional_convol = nn.ModuleDict(
            {"2": PositionalConvolution(d_model, kernel_size, batchnorm)}
        )
        self.cand_scoring = nn.ModuleDict({"0": BlockScore(d_model, 1)})
        self._folded = FoldedTables()

    @property
    def convolution(self) -> PositionalConvolution:
        """The layer that turns byte embeddings into X."""
        return cast(PositionalConvolution, self.positional_convol["2"])

    @property
    def scoring(self) -> nn.Linear:
        """The linear form by which blocks are scored."""
        return cast(nn.Linear, self.cand_scoring["0"])

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Turns bytes into soft subwords.

        Args:
            input_ids: (B, L) byte ids.
            attention_mask: (B, L), non-zero for bytes that count; all count if it is None.
                Left padding and holes are closed up, so that position 0 of the output always
                starts at the first byte that counts.
            inputs_embeds: (B, L, D) embeddings in place of `input_ids`.

        Returns:
            The mixed blocks (B, n, D) and their mask (B, n), true where any byte counts.

        Raises:
            ValueError: Both or neither input given, an empty sequence, or a mask of another shape.
        """
        inputs = input_ids if input_ids is not None else inputs_embeds
        if inputs is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs.shape[1] == 0:
            raise ValueError("GBST needs at least one byte per example, got a sequence of length 0")
        if attention_mask is None:
            mask = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        elif attention_mask.shape != inputs.shape[:2]:
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)}, the input"
                f" {tuple(inputs.shape[:2])}; GBST takes one mask value per byte"
            )
        else:
            inputs, mask = _close_holes(inputs, attention_mask != 0)

        layout = self._layout(mask.shape[1])
        dtype = self.embeds.weight.dtype if inputs_embeds is None else inputs_embeds.dtype
        pooled_mask = self.downsample_mask(mask)
        if inputs_embeds is None and self._can_look_up():
            return self._look_up(inputs, mask, layout).to(dtype), pooled_mask
        x = self._represent(inputs, mask, layout)
        with without_autocast(x):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            scalars = self.scoring(x[: mask.shape[0] * layout.stride])
            tiles = self._band(scalars, mask, layout)
            mixed = BandedProduct.apply(tiles, x, layout.tile)
        return self._unroll(mixed, mask, layout).to(dtype), pooled_mask

    def _can_look_up(self) -> bool:
        """Whether tables may replace the layers before the mix.

        They may not if something wraps or hooks those layers and has to see them run, if
        statistics of this batch are needed, or if a compiler wants plain operations.
        """
        convolution = self.convolution
        layers = (self.embeds, convolution.convol, convolution.proj, self.scoring)
        plain = (nn.Embedding, LookAheadConvolution, PointwiseConvolution, BlockScore)
        return (
            fast_path.folded
            and all(type(layer) is kind for layer, kind in zip(layers, plain, strict=True))
            and not any(is_hooked(module) for module in self.modules() if module is not self)
            and (convolution.bn is None or not convolution.bn.training)
            and not is_traced()
        )

    def _look_up(self, ids: Tensor, mask: Tensor, layout: Layout) -> Tensor:
        """The output (B, n, D) for ids (B, L), looked up in tables."""
        is_folded = is_constant(self)
        with without_autocast(ids):
            tables: Tables = self._folded.get(self) if is_folded else Weights.of(self).tables()
            nothing = tables.rows.shape[1] - 1
            check_ids(ids.masked_fill(~mask, 0), nothing)
            if is_folded and TableKernel.fits(tables, ids):
                lengths = mask.sum(dim=1)
                kernel = TableKernel(tables, self.blocks, self.downsample_factor, ids, lengths)
                return kernel.mix(self._agreed(kernel.choose(), mask))
            gap = (layout.reach, layout.stride - layout.reach - mask.shape[1])
            flat = F.pad(ids.masked_fill(~mask, nothing), gap, value=nothing).flatten()
            flat = F.pad(flat, (0, 3 * layout.reach), value=nothing)
            near = F.embedding(flat, tables.scalars)  # (N, K)
            rows = mask.shape[0] * layout.stride
            scalars = tables.constant + sum(near[k : k + rows, k] for k in range(near.shape[1]))
            tiles = self._band(scalars, mask, layout)
            mixed = BandedLookup.apply(tiles, tables.rows, flat, layout.tile) + tables.bias
        if not is_folded:
            mixed = self.convolution.proj(mixed.to(self.convolution.proj.weight.dtype))
        return self._unroll(mixed, mask, layout)

    def downsample_mask(self, mask: Tensor) -> Tensor:
        """Maps a byte mask (B, L) to the mask (B, n) of the output positions."""
        d = self.downsample_factor
        mask = (mask != 0).to(torch.uint8).sort(dim=1, descending=True).values
        return F.pad(mask, (0, -mask.shape[1] % d)).unflatten(1, (-1, d)).any(dim=2)

    def block_weights(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The soft choice between blocks at every byte.

        It is the softmax of the scores, then consensus (Charformer, sec. 2.1 and eq. 5).

        Args:
            scores: (B, L, M) in float32, -inf for blocks without a byte that counts.
            mask: (B, L).

        Returns:
            (B, L, M), a distribution over blocks at every byte that counts.
        """
        # Where nothing counts every score is -inf, and softmax would be undefined.
        return self._agreed(scores.masked_fill(~mask[:, :, None], 0).softmax(dim=-1), mask)

    def _agreed(self, weights: Tensor, mask: Tensor) -> Tensor:
        """The choices (B, L, M) after consensus, if the layer has it."""
        if not self.consensus or len(self.blocks) == 1:
            return weights
        heads = weights[:, None]
        if heads.is_cuda:  # fused kernels want a head dimension that is a multiple of 8
            heads = F.pad(heads, (0, -heads.shape[-1] % 8))
        # An example without any byte attends to its padding, which avoids NaN.
        keys = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]
        if _is_polynomial_cheaper(weights):
            return PolynomialConsensus.apply(weights, keys[:, 0, 0].to(weights.dtype))
        heads = F.scaled_dot_product_attention(heads, heads, heads, attn_mask=keys, scale=1.0)
        return heads[:, 0, :, : len(self.blocks)]

    def block_scores(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Computes only the scores that `block_weights` turns into a choice.

        Args:
            input_ids: (B, L) byte ids.
            attention_mask: (B, L), ones, then zeros.

        Returns:
            (B, L, M) in float32, -inf for blocks without a byte that counts.
        """
        mask = attention_mask != 0
        layout = self._layout(mask.shape[1])
        x = self._represent(input_ids, mask, layout)
        with without_autocast(x):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            return self._scores(self.scoring(x[: mask.shape[0] * layout.stride]), mask, layout)

    def _layout(self, length: int) -> Layout:
        reach = max(size for size, _ in self.blocks) - 1
        rows = max(TILE_ROWS, -(-2 * reach // self.downsample_factor))
        tile = rows * self.downsample_factor
        return Layout(reach, tile, tile * -(-(length + reach) // tile))

    def _represent(self, inputs: Tensor, mask: Tensor, layout: Layout) -> Tensor:
        """X (B * stride + 2 * reach, D) of ids (B, L) or embeddings (B, L, D); 0 in the gaps."""
        reach, _, stride = layout
        gap = (reach, stride - reach - mask.shape[1])
        flat_mask = F.pad(F.pad(mask, gap).flatten(), (0, 3 * reach))
        if inputs.dim() == 2:
            flat = F.pad(F.pad(inputs, gap).flatten(), (0, 3 * reach))
            embeds = self.embeds(flat)
        else:
            embeds = F.pad(F.pad(inputs, (0, 0, *gap)).flatten(0, 1), (0, 0, 0, 3 * reach))
        embeds = embeds * flat_mask[:, None]
        positions = flat_mask[: flat_mask.shape[0] - reach]
        return self.convolution(embeds, positions) * positions[:, None]

    def _scores(self, scalars: Tensor, mask: Tensor, layout: Layout) -> Tensor:
        """Scores (B, L, M) of the block around every byte, -inf where no byte of it counts.

        Args:
            scalars: (B * stride,), the score of every byte alone.
            mask: (B, L).
            layout: Where the bytes are in `scalars`.
        """
        batch, length = mask.shape
        reach, _, stride = layout
        scalars = scalars.view(batch, stride)[:, reach : reach + length] * mask
        scores = []
        for size, offset in self.blocks:
            count = _block_sum(mask.float(), size, offset)
            mean = _block_sum(scalars, size, offset) / count.clamp(min=1)
            scores.append(mean.masked_fill(count == 0, -torch.inf))
        return torch.stack(scores, dim=-1)

    def _band(self, scalars: Tensor, mask: Tensor, layout: Layout) -> Tensor:
        """The matrix A that mixes block means and pools d bytes, as tiles of `BandedProduct`.

        Its rows sum to 1 where any of the pooled bytes counts, else to 0.
        """
        weights = self.block_weights(self._scores(scalars, mask, layout), mask)
        batch, length = mask.shape
        reach, tile, stride = layout
        d = self.downsample_factor
        width = tile + 2 * reach
        pooled = _block_sum(mask.float(), d, 0).clamp(min=1)
        origin = torch.arange(0, stride, tile, device=mask.device)[:, None]
        at = origin + torch.arange(tile, device=mask.device)
        near = origin + torch.arange(-reach, tile + reach, device=mask.device)
        band = weights.new_zeros(batch, stride // tile, tile, width)
        for m, (size, offset) in enumerate(self.blocks):
            count = _block_sum(mask.float(), size, offset).clamp(min=1)
            share = weights[:, :, m] * mask / (pooled * count)
            share = F.pad(share, (0, stride - length)).unflatten(1, (stride // tile, tile))
            shift = (size - offset) % size
            same_block = ((at + shift) // size)[:, :, None] == ((near + shift) // size)[:, None]
            band = band + share[..., None] * same_block
        # A block's mean is over the bytes of it that count.
        counted = F.pad(mask, (reach, stride - length + reach)).unfold(1, width, tile)
        band = band.unflatten(2, (tile // d, d)).sum(dim=3) * counted[:, :, None]
        return band.flatten(0, 1)

    def _unroll(self, mixed: Tensor, mask: Tensor, layout: Layout) -> Tensor:
        """The output (B, n, D) of all positions (B * stride / d, D), zero where none counts."""
        batch, length = mask.shape
        d = self.downsample_factor
        mixed = mixed.view(batch, layout.stride // d, mixed.shape[-1])[:, : -(-length // d)]
        return mixed * self.downsample_mask(mask)[:, :, None]


def _is_polynomial_cheaper(weights: Tensor) -> bool:
    """Whether there are enough block weights (B, L, M) for `PolynomialConsensus` to pay off."""
    return (
        not is_traced()  # first: a trace would keep the outcome of the last line
        and fast_path.folded
        and weights.device.type == "cpu"
        and weights.dtype == torch.float32
        and weights.shape[1] > 4 * monomial_count(weights.shape[2])
    )


def _close_holes(inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Moves what counts to the left, in order, and the rest after it."""
    mask, order = mask.to(torch.uint8).sort(dim=1, descending=True, stable=True)
    if inputs.dim() == 3:
        order = order[:, :, None].expand_as(inputs)
    return inputs.gather(1, order), mask.bool()


def _block_sum(values: Tensor, size: int, offset: int) -> Tensor:
    """Replaces every value of (B, L) by the sum over its block."""
    length = values.shape[1]
    shift = (size - offset) % size
    values = F.pad(values, (shift, -(shift + length) % size))
    sums = values.unflatten(1, (-1, size)).sum(dim=2)
    return sums[:, (torch.arange(length, device=values.device) + shift) // size]


__all__ = ["GBST"]
