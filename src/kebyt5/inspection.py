r"""Inspecting what a model does with a text: which blocks GBST chooses, where the decoder attends.

GBST weighs blocks of several sizes at every byte. Its soft choice implies a segmentation, which is
made explicit here by a definition of our own (Charformer has none): of all ways to cover the text
with candidate blocks, the one of the largest total weight, $\sum_t \hat p_{t, b(t)}$, b(t) being
the block that covers byte t. That total over the length is the *agreement*: the share of bytes that
would choose their segment's block if every byte drew one by its weights. Read a segmentation
beside its agreement: with M blocks 1/M is what indifferent weights give.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.models.gbst import GBST
from kebyt5.models.mode import evaluating
from kebyt5.models.stack import cache_of
from kebyt5.models.tokenization_kebyt5 import EOS, LAST_BYTE, LAST_SENTINEL, OFFSET, PAD

Blocks = Sequence[tuple[int, int]]
"""Candidate blocks: pairs of size and offset, as in `GBSWT5Config.blocks`."""

_MAX_NUMBERS = 1 << 24
"""Numbers of attention that are kept at a time, 64 MB of them."""

_NAMES = {PAD: "<pad>", EOS: "</s>", 2: "<unk>"}


class Unit(NamedTuple):
    """A character or a special token, spelled by the ids `start` to `end` (exclusive)."""

    text: str
    start: int
    end: int


class Choice(NamedTuple):
    """How GBST weighs its blocks at every byte of a text.

    Attributes:
        blocks: M candidate blocks.
        before: (L, M), the softmax of the scores at each byte.
        after: (L, M), the weights after consensus; equal to `before` in a model without consensus.
    """

    blocks: tuple[tuple[int, int], ...]
    before: np.ndarray
    after: np.ndarray


class Segment(NamedTuple):
    """Bytes `start` to `end` (exclusive), covered by candidate block number `block`."""

    start: int
    end: int
    block: int


def units(ids: Sequence[int]) -> list[Unit]:
    """Groups ids into characters and special tokens, in order and without gaps.

    Ids 248 to 258 are sentinels of pretraining. A byte that is not part of a character becomes
    U+FFFD.

    Example:
        >>> units(ByteTokenizer()("a한").input_ids)
        [Unit(text='a', start=0, end=1), Unit(text='한', start=1, end=4), Unit(text='</s>', ...)]
    """
    found: list[Unit] = []
    ids = [int(each) for each in ids]
    place = 0
    while place < len(ids):
        text, size = _read_unit(ids[place : place + 4])
        found.append(Unit(text, place, place + size))
        place += size
    return found


def _read_unit(ids: Sequence[int]) -> tuple[str, int]:
    first = ids[0]
    if LAST_SENTINEL <= first <= LAST_BYTE:
        return f"<extra_id_{LAST_BYTE - first}>", 1
    if first < 0:  # such as the padding of labels
        return "\ufffd", 1
    if not OFFSET <= first <= LAST_BYTE:
        return _NAMES.get(first, f"<extra_id_{first - LAST_BYTE - 1}>"), 1
    for size in range(1, len(ids) + 1):
        if not OFFSET <= ids[size - 1] <= LAST_BYTE:
            break
        try:
            return bytes(i - OFFSET for i in ids[:size]).decode(), size
        except UnicodeDecodeError:
            pass
    return "\ufffd", 1


@torch.inference_mode()
def block_choice(model: PreTrainedModel, input_ids: Sequence[int]) -> Choice:
    """Computes how the GBST layer of a model weighs its blocks at every byte.

    Args:
        model: A GBST-KEByT5 model.
        input_ids: Ids of one text, as the model reads it; at least one.

    Raises:
        ValueError: The model has no GBST, or `input_ids` is empty.
    """
    gbst = model.get_encoder().embed_tokens
    if not isinstance(gbst, GBST):
        raise ValueError("the model has no GBST: each byte is one encoder position")
    ids = _row(model, input_ids)
    mask = torch.ones_like(ids, dtype=torch.bool)
    with evaluating(model):
        scores = gbst.block_scores(ids, mask)
        weights = scores.softmax(dim=-1), gbst.block_weights(scores, mask)
    before, after = (each[0].cpu().numpy() for each in weights)
    return Choice(gbst.blocks, before, after)


def segment(weights: np.ndarray, blocks: Blocks) -> list[Segment]:
    """Finds the segmentation that block weights imply: the one with the largest total weight.

    A segment is a candidate block as GBST lays it out, so it begins at a multiple of its size (less
    its offset); the end of the text may cut the last one short. Among equal totals, the
    segmentation with fewer segments wins. Dynamic programming over the end of the last segment,
    O(LM).

    Args:
        weights: (L, M), non-negative.
        blocks: The M candidate blocks.

    Returns:
        Segments that cover bytes 0 to L without gap or overlap.
    """
    length = len(weights)
    sums = np.vstack([np.zeros(len(blocks)), np.cumsum(weights, axis=0, dtype=np.float64)])
    totals, counts = [0.0], [0]
    last: list[Segment] = []
    for end in range(1, length + 1):
        total, count, best = -1.0, 0, Segment(0, 0, 0)
        for number, (size, offset) in enumerate(blocks):
            shift = (size - offset) % size
            if (end + shift) % size and end < length:
                continue  # no block of this size ends here
            start = max(0, (end - 1 + shift) // size * size - shift)
            candidate = totals[start] + sums[end, number] - sums[start, number]
            # Rounding makes equal sums differ in their last bits, which must not decide.
            margin = 1e-9 * (1 + candidate)
            if candidate > total + margin or (
                candidate > total - margin and counts[start] + 1 < count
            ):
                total, count, best = candidate, counts[start] + 1, Segment(start, end, number)
        totals.append(total)
        counts.append(count)
        last.append(best)
    found: list[Segment] = []
    while length:
        found.append(last[length - 1])
        length = found[-1].start
    return found[::-1]


def agreement(weights: np.ndarray, segments: Sequence[Segment]) -> float:
    """Returns the mean weight, 0 to 1, of the blocks in a segmentation; see the module."""
    total = sum(weights[each.start : each.end, each.block].sum() for each in segments)
    return float(total) / len(weights)


@torch.inference_mode()
def cross_attention(
    model: PreTrainedModel, input_ids: Sequence[int], output_ids: Sequence[int]
) -> np.ndarray:
    """Computes the decoder's attention to the input while it writes a given output.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        input_ids: The L ids of the input.
        output_ids: The T ids of the output, without the id that starts the decoder.

    Returns:
        Attention of shape (layers, heads, T, n) for the n encoder positions. Row t belongs to the
        step that decides output id t; each row sums to 1.
    """
    parts = _cross_attention_parts(model, input_ids, output_ids, max(1, len(output_ids)))
    whole = np.concatenate([part.numpy() for part in parts], axis=2)
    return whole[:, :, : len(output_ids)]


@torch.inference_mode()
def mean_cross_attention(
    model: PreTrainedModel, input_ids: Sequence[int], output_ids: Sequence[int]
) -> np.ndarray:
    """Computes the mean of `cross_attention` over layers and heads, (T, n), in little memory."""
    config = model.config
    row = config.num_decoder_layers * config.num_heads * len(input_ids)
    parts = _cross_attention_parts(model, input_ids, output_ids, max(1, _MAX_NUMBERS // row))
    return np.concatenate([part.mean(dim=(0, 1)).numpy() for part in parts])[: len(output_ids)]


def _cross_attention_parts(
    model: PreTrainedModel, input_ids: Sequence[int], output_ids: Sequence[int], size: int
) -> Iterator[torch.Tensor]:
    """Yields the attention (layers, heads, at most `size`, n) of the outputs in turn."""
    ids = _row(model, input_ids)
    decoder_ids = _row(model, [model.config.decoder_start_token_id, *output_ids[:-1]])
    mask = torch.ones_like(ids)
    with evaluating(model):
        # The encoder runs separately: with `output_attentions` its own would be kept too.
        encoded = model.get_encoder()(ids, attention_mask=mask, return_dict=True)
        cached: dict[str, Any] = {}
        for part in decoder_ids.split(size, dim=1):
            output = model(
                encoder_outputs=encoded,
                attention_mask=mask,
                decoder_input_ids=part,
                output_attentions=True,
                use_cache=size < decoder_ids.shape[1],
                return_dict=True,
                **cached,
            )
            cached = cache_of(output)
            if not output.cross_attentions:
                raise ValueError(
                    "this attention keeps no weights; call model.set_attn_implementation('eager')"
                )
            yield torch.cat(output.cross_attentions).float().cpu()


def spread_over_bytes(attention: np.ndarray, length: int, factor: int) -> np.ndarray:
    """Divides the attention to each encoder position equally among the bytes that it pools.

    Through blocks and the convolution a position also sees a few neighbouring bytes; only the bytes
    that it pools get a share.

    Args:
        attention: Array of shape (..., n).
        length: L, the bytes of the input; n = ceil(L / d).
        factor: d, the bytes that a position pools; 1 without GBST.

    Returns:
        Array of shape (..., L), with the same sum.
    """
    pooled = np.arange(length) // factor
    return attention[..., pooled] / np.bincount(pooled)[pooled]


def sum_over_units(values: np.ndarray, found: Sequence[Unit]) -> np.ndarray:
    """Sums values per byte, (..., L), over the bytes of each unit, giving (..., units)."""
    return np.add.reduceat(values, [unit.start for unit in found], axis=-1)


def _row(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    if len(ids) == 0:
        raise ValueError("an input has no ids; give at least the end of sequence")
    return torch.tensor([list(ids)], device=model.device)


__all__ = [
    "Blocks",
    "Choice",
    "Segment",
    "Unit",
    "agreement",
    "block_choice",
    "cross_attention",
    "mean_cross_attention",
    "segment",
    "spread_over_bytes",
    "sum_over_units",
    "units",
]
