r"""What a model does with a text: which blocks GBST reads it in, where the decoder looks.

GBST weighs blocks of several sizes at every byte. Its soft choice implies a segmentation, which is
made explicit here by a definition of our own (Charformer has none): of all ways to cover the text
with candidate blocks, the one of the largest total weight, $\sum_t \hat p_{t, b(t)}$, b(t) being
the block that covers byte t. That total over the length is the *agreement*: the share of bytes that
would choose their segment's block if every byte drew one by its weights. Read a segmentation
beside its agreement: with M blocks 1/M is what indifferent weights give.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.models.gbst import GBST
from kebyt5.models.tokenization_kebyt5 import EOS, LAST_BYTE, LAST_SENTINEL, OFFSET, PAD

Blocks = Sequence[tuple[int, int]]
"""Candidate blocks: pairs of size and offset, as in `GBSWT5Config.blocks`."""

_NAMES = {PAD: "<pad>", EOS: "</s>", 2: "<unk>"}


class Unit(NamedTuple):
    """What ids `start` to `end` (exclusive) stand for: a character, or a special token."""

    text: str
    start: int
    end: int


class Choice(NamedTuple):
    """How GBST weighs its blocks at every byte of a text.

    Attributes:
        blocks: M candidate blocks.
        before: (L, M), the softmax of the scores at each byte.
        after: (L, M), after consensus; the same where the model has none.
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
    """The characters and special tokens of ids, in order and without gaps.

    Ids 248 to 258 are sentinels of pretraining. A byte that is no part of a character is U+FFFD.

    Example:
        >>> units(ByteTokenizer()("a한").input_ids)
        [Unit(text='a', start=0, end=1), Unit(text='한', start=1, end=4), Unit(text='</s>', ...)]
    """
    found: list[Unit] = []
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
    """How the GBST layer of a model weighs its blocks at every byte.

    Args:
        model: A GBST-KEByT5 model.
        input_ids: Of one text, as the model reads it; at least one.

    Raises:
        ValueError: The model has no GBST, or there is no id.
    """
    gbst = model.get_encoder().embed_tokens
    if not isinstance(gbst, GBST):
        raise ValueError("the model has no GBST: it reads one byte an encoder position")
    ids = _row(model, input_ids)
    mask = torch.ones_like(ids, dtype=torch.bool)
    scores = gbst.block_scores(ids, mask)
    weights = scores.softmax(dim=-1), gbst.block_weights(scores, mask)
    before, after = (each[0].cpu().numpy() for each in weights)
    return Choice(gbst.blocks, before, after)


def segment(weights: np.ndarray, blocks: Blocks) -> list[Segment]:
    """The segmentation that block weights imply: that of the largest total weight.

    A segment is a candidate block as GBST lays it out, so it begins at a multiple of its size (less
    its offset); the last one may be cut by the end of the text. Of equal totals the one with fewer
    segments is taken. Dynamic programming over the end of the last segment, O(LM).

    Args:
        weights: (L, M), not negative.
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
            # Sums in another order differ by their last bits, which decide nothing.
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
    """The mean weight, 0 to 1, of the blocks that a segmentation takes; see the module."""
    total = sum(weights[each.start : each.end, each.block].sum() for each in segments)
    return float(total) / len(weights)


@torch.inference_mode()
def cross_attention(
    model: PreTrainedModel, input_ids: Sequence[int], output_ids: Sequence[int]
) -> np.ndarray:
    """Where in its input the decoder looks while it writes a given output.

    Args:
        model: KEByT5, GBST-KEByT5 or ByT5.
        input_ids: Of the input, L of them.
        output_ids: Of the output, T of them, without the id that starts the decoder.

    Returns:
        (layers, heads, T, n) for the n encoder positions. Row t belongs to the step that decides
        output id t; each row sums to 1.
    """
    ids = _row(model, input_ids)
    start = model.config.decoder_start_token_id
    decoder_ids = _row(model, [start, *output_ids[:-1]])
    mask = torch.ones_like(ids)
    # The encoder on its own: its self-attentions would be kept as well.
    encoded = model.get_encoder()(ids, attention_mask=mask, return_dict=True)
    output = model(
        encoder_outputs=encoded,
        attention_mask=mask,
        decoder_input_ids=decoder_ids,
        output_attentions=True,
        use_cache=False,
        return_dict=True,
    )
    return torch.cat(output.cross_attentions).float().cpu().numpy()


def spread_over_bytes(attention: np.ndarray, length: int, factor: int) -> np.ndarray:
    """Divides what each encoder position gets equally among the bytes that it pools.

    What a position holds reaches a few bytes further, as blocks and the convolution do; those that
    it pools are its own.

    Args:
        attention: (..., n).
        length: L, the bytes of the input; n = ceil(L / d).
        factor: d, the bytes that a position pools, 1 where there is no GBST.

    Returns:
        (..., L), with the same sum.
    """
    pooled = np.arange(length) // factor
    return attention[..., pooled] / np.bincount(pooled)[pooled]


def sum_over_units(values: np.ndarray, found: Sequence[Unit]) -> np.ndarray:
    """Adds up values (..., L) of bytes to those (..., units) of the units they belong to."""
    return np.add.reduceat(values, [unit.start for unit in found], axis=-1)


def _row(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    if len(ids) == 0:
        raise ValueError("an input without ids; give at least the end of sequence")
    return torch.tensor([list(ids)], device=model.device)


__all__ = [
    "Blocks",
    "Choice",
    "Segment",
    "Unit",
    "agreement",
    "block_choice",
    "cross_attention",
    "segment",
    "spread_over_bytes",
    "sum_over_units",
    "units",
]
