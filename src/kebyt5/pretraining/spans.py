"""Span corruption as in T5 and ByT5, for whole batches of byte chunks.

Spans of a chunk are replaced by one sentinel each; the target contains what each was:

    source   한국의 수도는 서울이다.
    input    한국의 <258>는 서울<257></s>
    target   <258>수도<257>이다.</s>

Sentinel i is id 258 - i. Only the first 11 of them never occur as bytes of UTF-8, hence the limit.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kebyt5.models.modeling_kebyt5 import IGNORED
from kebyt5.models.native import call, is_compiled
from kebyt5.models.tokenization_kebyt5 import EOS, OFFSET, PAD, ByteTokenizer
from kebyt5.pretraining.randomness import Uint64, uniform

MAX_SPANS = ByteTokenizer.NUM_PRETRAINING_SENTINELS


@dataclass(frozen=True)
class SpanCorruption:
    """Settings of span corruption: how much of a text is masked, in spans of which length.

    Attributes:
        density: Share of the bytes that are masked.
        mean_span: Mean length of a span in bytes; longer if there would be more than 11 spans.
        whole_characters: Whether spans begin and end between characters. Otherwise they may cut
            characters, as in ByT5.
    """

    density: float = 0.15
    mean_span: float = 20.0
    whole_characters: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.density < 1 or not self.mean_span >= 1:
            raise ValueError(
                f"density {self.density} has to be between 0 and 1, mean_span {self.mean_span}"
                " 1 or more"
            )

    def counts(self, units: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes how many units (bytes or characters) are masked, and in how many spans.

        Args:
            units: Bytes or characters of each text, 2 or more.
            sizes: Bytes of each text.

        Returns:
            Masked units and spans of each text, int64.
        """
        noise = np.clip(np.rint(units * self.density), 1, units - 1).astype(np.int64)
        spans = np.rint(np.rint(sizes * self.density) / self.mean_span).astype(np.int64)
        most = np.minimum(np.minimum(noise, units - noise), MAX_SPANS)
        return noise, np.clip(spans, 1, most)

    def lengths(self, size: int) -> tuple[int, int]:
        """Ids of the input and of the target, `</s>` included, for `size` bytes of text.

        With `whole_characters` these are averages.
        """
        noise, spans = (int(n[0]) for n in self.counts(*np.full((2, 1), size)))
        return size - noise + spans + 1, noise + spans + 1

    def raw_length(self, input_length: int) -> int:
        """The most bytes whose input has at most `input_length` ids: T5's `random_spans_helper`.

        Raises:
            ValueError: `input_length` is too short for two bytes.
        """
        # An upper bound by the bytes kept; the bisection works as inputs grow with their texts.
        most = int((input_length + 1) / (1 - self.density)) + 1
        sizes = range(2, max(most, 3) + 1)
        fitting = bisect_right(sizes, input_length, key=lambda size: self.lengths(size)[0])
        size = max(2, 1 + fitting)
        if self.lengths(size)[0] > input_length:
            raise ValueError(f"an input of {input_length} ids is too short for anything")
        return size


class Spans(NamedTuple):
    """The masked spans of a batch: byte offsets, int64 (rows, 11), and their number, int64 (rows,).

    After the last span of a row, starts and ends both equal the number of bytes in which spans were
    drawn. A text to copy has no spans, and zeros everywhere.
    """

    starts: np.ndarray
    ends: np.ndarray
    counts: np.ndarray


class Batch(NamedTuple):
    """Ids of a batch, int64: inputs (rows, I), padded with 0, and labels (rows, T), with -100."""

    input_ids: np.ndarray
    labels: np.ndarray


def draw_spans(
    corruption: SpanCorruption, sizes: np.ndarray, row_keys: Uint64, texts: np.ndarray
) -> Spans:
    """Draws spans with the distribution of T5's `random_spans_noise_mask`.

    The masked bytes are divided into spans of positive lengths, all divisions being equally likely;
    so are the unmasked bytes before each span. A text begins with unmasked bytes and ends with a
    span.

    Args:
        corruption: Density and mean length.
        sizes: Bytes of each text, 2 or more, int64 (rows,).
        row_keys: Keys that determine the random numbers of each row, uint64 (rows,).
        texts: Bytes, uint8 (rows, width), each text from 0 on; read only with `whole_characters`.
    """
    if not corruption.whole_characters:
        return _draw(corruption, sizes, sizes, row_keys)
    begins = ((texts & 0xC0) != 0x80) & (np.arange(texts.shape[1]) < sizes[:, None])
    begins[:, 0] = True  # bytes before the first whole character count as one
    characters = begins.sum(1)
    # A lone character cannot be divided, so its bytes are.
    alone = characters < 2
    begins[alone] |= np.arange(texts.shape[1]) < sizes[alone, None]
    characters = begins.sum(1)
    spans = _draw(corruption, characters, sizes, row_keys)
    # One more entry per row, for the end of the last character.
    offsets = np.insert(np.nonzero(begins)[1], np.cumsum(characters), sizes)
    first = np.cumsum(characters + 1) - characters - 1
    return Spans(
        offsets[first[:, None] + spans.starts], offsets[first[:, None] + spans.ends], spans.counts
    )


def _draw(
    corruption: SpanCorruption, units: np.ndarray, sizes: np.ndarray, row_keys: Uint64
) -> Spans:
    noise, counts = corruption.counts(units, sizes)
    if is_compiled():
        starts, ends = np.empty((2, len(units), MAX_SPANS), np.int64)
        given = (np.ascontiguousarray(each, np.int64) for each in (noise, units, counts))
        keys = np.ascontiguousarray(row_keys, np.uint64)
        call("draw_spans", *given, keys, starts, ends, len(units))
        return Spans(starts, ends, counts)
    numbers = uniform(row_keys, 2 * (MAX_SPANS - 1)).reshape(-1, MAX_SPANS - 1)
    totals = np.stack([noise, units - noise], axis=1).reshape(-1)
    lengths = _divide(totals, np.repeat(counts, 2), numbers).reshape(len(units), 2, MAX_SPANS)
    ends = np.cumsum(lengths.sum(axis=1), axis=1)
    return Spans(ends - lengths[:, 0], ends, counts)


def _divide(totals: np.ndarray, parts: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Divides each total into positive parts, all divisions being equally likely.

    The cuts are a set of distinct numbers below the total, drawn by Floyd's algorithm (Bentley &
    Floyd 1987).

    Args:
        totals: Numbers to divide, (rows,).
        parts: Numbers of parts, (rows,), 1 to 11 and no more than the total.
        numbers: Uniform in [0, 1), (rows, 10).

    Returns:
        Sizes of the parts, (rows, 11), followed by zeros.
    """
    cuts = np.empty((MAX_SPANS + 1, len(totals)), np.int64)
    cuts[:] = totals
    cuts[0] = 0
    for i, number in enumerate(numbers.T[: parts.max() - 1], 1):
        last = totals - parts + i
        cut = 1 + (number * last).astype(np.int64)
        is_taken = (cuts[1:i] == cut).any(axis=0)
        cuts[i] = np.where(i < parts, np.where(is_taken, last, cut), totals)
    return np.diff(np.sort(cuts.T, axis=1), axis=1)


def encode_bytes(text: np.ndarray) -> np.ndarray:
    """The ids of bytes, uint8 (n,), followed by `</s>`: int64 (n + 1,)."""
    return np.append(text.astype(np.int64) + OFFSET, EOS)


def mask_spans(
    rows: np.ndarray,
    begins: np.ndarray,
    sizes: np.ndarray,
    spans: Spans,
    input_length: int | None = None,
    target_length: int | None = None,
) -> Batch:
    """Makes input and target ids of texts with masked spans.

    A text without spans is copied: it is both input and target.

    Args:
        rows: Bytes, uint8 (rows, width).
        begins: Offset of each text in its row, int64 (rows,).
        sizes: Bytes of each text, int64 (rows,).
        spans: Spans to mask, by offsets in the text.
        input_length: Width of the inputs; that of the longest if not given.
        target_length: Width of the targets; that of the longest if not given.

    Raises:
        ValueError: A text is not within its row, or its ids exceed the given width.
    """
    if (begins < 0).any() or (begins + sizes > rows.shape[1]).any():
        raise ValueError(f"a text is not within its row of {rows.shape[1]} bytes")
    target_sizes = (spans.ends - spans.starts).sum(1) + spans.counts
    input_sizes = sizes - target_sizes + 2 * spans.counts
    target_sizes = np.where(spans.counts, target_sizes, sizes)
    widths = []
    for given, needed in ((input_length, input_sizes), (target_length, target_sizes)):
        longest = int(needed.max()) + 1
        if given is not None and longest > given:
            raise ValueError(f"{longest} ids do not fit into {given}")
        widths.append(given or longest)
    batch = Batch(*(np.empty((len(rows), width), np.int64) for width in widths))
    if is_compiled():
        rows = np.ascontiguousarray(rows, np.uint8)
        numbers = (np.ascontiguousarray(each, np.int64) for each in (begins, sizes, *spans))
        call("mask_spans", rows, *numbers, *batch, *rows.shape, *widths)
    else:
        for each in zip(rows, begins, sizes, *spans, *batch, strict=True):
            _mask_row(*each)
    return batch


def _mask_row(
    row: np.ndarray,
    begin: int,
    size: int,
    starts: np.ndarray,
    ends: np.ndarray,
    count: int,
    input_ids: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Does for one row what the compiled function does."""
    ids = encode_bytes(row[begin : begin + size])
    inputs: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    last = 0
    for span, (start, end) in enumerate(zip(starts[:count], ends[:count], strict=True)):
        sentinel = np.array([ByteTokenizer.pretraining_sentinel_id(span)])
        inputs += [ids[last:start], sentinel]
        targets += [sentinel, ids[start:end]]
        last = end
    inputs.append(ids[last:])
    targets.append(ids[-1:] if count else ids)
    input_ids[:], labels[:] = PAD, IGNORED
    for out, parts in ((input_ids, inputs), (labels, targets)):
        joined = np.concatenate(parts)
        out[: len(joined)] = joined


__all__ = [
    "MAX_SPANS",
    "Batch",
    "SpanCorruption",
    "Spans",
    "draw_spans",
    "encode_bytes",
    "mask_spans",
]
