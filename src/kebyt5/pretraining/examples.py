"""Training examples of byte shards: an example is a function of (shards, seed, index).

Nothing is remembered from one example to the next, so that resuming a run, dividing it among
devices and shuffling anew for every pass over the corpus are arithmetic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kebyt5.corpus.shards import Shard, Shards
from kebyt5.errors import InputError
from kebyt5.models.native import call, is_compiled
from kebyt5.models.tokenization_kebyt5 import PAD
from kebyt5.pretraining.lookups import NUMBERS, lookup_example
from kebyt5.pretraining.mixture import Mixture, shares_by_weight
from kebyt5.pretraining.randomness import key, mix, uniform
from kebyt5.pretraining.salient import SalientSpans
from kebyt5.pretraining.spans import (
    IGNORED,
    MAX_SPANS,
    Batch,
    SpanCorruption,
    Spans,
    draw_spans,
    mask_spans,
)

_MAX_MOVED = 3
"""Bytes by which a boundary may have to move to fall between two characters."""

_MIN_INPUT = 32
_MIN_TEXT = 16  # bytes, some five syllables
_SPANS, _COPIES, _SHORT, _LOOKUPS = 3, 4, 5, 6  # what a key is for


class Chunks:
    """The text of shards in chunks that begin and end between characters.

    All chunks of a shard have `size` bytes, less up to 3 where that would cut a character; only a
    shard that is shorter is one chunk as it is. Chunks leave no byte out, and overlap by a few. A
    chunk may hold several documents, whose ends are newlines, and a part of one.

    Args:
        shards: What to read; their chunks are numbered through.
        size: Bytes of a chunk, 8 or more.
    """

    def __init__(self, shards: Sequence[Shard], size: int) -> None:
        self.shards = shards
        self.size = size
        self._bytes = np.array([shard.bytes for shard in shards], np.int64)
        # Among four successive places there is one between characters, so that with three bytes
        # in common no gap can open between two chunks.
        step = size - _MAX_MOVED
        self._steps = -(-np.maximum(self._bytes - size, 0) // step)
        self._last = np.cumsum(self._steps + 1)
        self.counts = self._steps + 1

    @cached_property
    def _addresses(self) -> np.ndarray:
        """Where in memory each shard lies."""
        return np.array([shard.data.__array_interface__["data"][0] for shard in self.shards])

    def __getstate__(self) -> dict[str, Any]:
        """For a loader's processes where these do not fork."""
        return {name: value for name, value in vars(self).items() if name != "_addresses"}

    def __len__(self) -> int:
        return int(self._last[-1])

    @property
    def row_size(self) -> int:
        """Bytes that `read` needs of a row."""
        return self.size + _MAX_MOVED + 1

    def read(self, numbers: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads chunks.

        Args:
            numbers: Of the chunks, (n,).
            rows: Where to read them to, zeros, uint8 (n, row_size), contiguous.

        Returns:
            Where in its row each chunk begins and ends, int64 (n,).
        """
        shard = np.searchsorted(self._last, numbers, side="right")
        steps, total = self._steps[shard], self._bytes[shard]
        number = numbers - (self._last[shard] - steps - 1)
        low = number * (total - self.size) // np.maximum(steps, 1)
        # With the byte behind the end, which tells whether the end cuts a character.
        high = np.minimum(low + self.row_size, total)
        if is_compiled():
            call("read_chunks", self._addresses[shard] + low, high - low, rows, *rows.shape)
        else:
            for row, which, first, last in zip(rows, shard, low, high, strict=True):
                row[: last - first] = self.shards[which].data[first:last]
        begins = _between_characters(rows, np.zeros_like(low), 1)
        ends = np.minimum(begins + self.size, total - low)
        return begins, _between_characters(rows, ends, -1)


def _between_characters(rows: np.ndarray, places: np.ndarray, step: int) -> np.ndarray:
    """Moves places in rows, (n,), on or back to where a character begins."""
    every = np.arange(len(rows))
    for _ in range(_MAX_MOVED):
        places = places + step * ((rows[every, places] & 0xC0) == 0x80)
    return places


@dataclass(frozen=True)
class Share:
    """How many examples are of a kind.

    A model learns to copy suddenly and sooner the more of its gradient asks for it; afterwards
    copies teach it nothing new. So it is with lookups.

    Attributes:
        share: Of the examples, from 0 to less than 1.
        early: Share at the first example, from which it falls linearly.
        examples: At which the share is reached.
    """

    share: float = 0.0
    early: float = 0.0
    examples: int = 0

    def mean(self, examples: int) -> float:
        """The share among the first so many examples."""
        falling = min(examples, self.examples)
        # The sum of (1 - i / examples) over the indices i at which it falls.
        total = falling - falling * (falling - 1) / 2 / max(self.examples, 1)
        return self.share + (self.early - self.share) * total / examples

    def at(self, indices: np.ndarray) -> np.ndarray:
        """The probability that an example is of the kind, for each of these indices."""
        rest = np.maximum(self.examples - indices, 0) / max(self.examples, 1)
        return self.share + (self.early - self.share) * rest


class Examples:
    """Pairs of corrupted input and target from all sources of a folder of shards.

    Args:
        shards: What to read.
        input_length: Ids of an input, `</s>` included. Never more, but where spans are of whole
            characters, of which it is the mean; with spans over bytes never less than 3 fewer, but
            of short texts and in a shard that is shorter than a chunk.
        corruption: What is masked.
        weights: How much more often than its size says a source is drawn, 1 where not named.
        seed: Chooses order and spans.
        salient: Masks what these rules find, where they find something.
        copies: Examples whose input is the beginning of a chunk as it is, and whose target is the
            same. Tasks whose output repeats the input need what these teach.
        short: Share of the examples whose text ends early. By T5's law all inputs have as many
            spans and end with one, and a model gets to rely on both; of a short text there are
            fewer, and it goes on for up to its half behind the last one. Copies end early in the
            same share.
        lookups: Of the examples but for copies, those that ask for the words in which sentinels
            are, see `kebyt5.pretraining.lookups`.

    Raises:
        InputError: `input_length` is too short, for copies or at all, or a weight is wrong.

    Attributes:
        sources: Names of the sources in their order.
        raw_length: Bytes of a chunk, at most.
        target_length: Ids of a target, where spans are over bytes and not salient; else None.
    """

    def __init__(
        self,
        shards: Shards,
        input_length: int = 1024,
        corruption: SpanCorruption | None = None,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
        salient: SalientSpans | None = None,
        copies: Share | None = None,
        short: float = 0.0,
        lookups: Share | None = None,
    ) -> None:
        if input_length < _MIN_INPUT:
            raise InputError(f"input length {input_length}: has to be {_MIN_INPUT} or more")
        self.corruption = corruption or SpanCorruption()
        self.salient = salient
        self.copies = copies or Share()
        self.short = short
        self.lookups = lookups or Share()
        # However little of a text is salient, its input is no longer.
        self.raw_length = (
            input_length - 1 - MAX_SPANS if salient else self.corruption.raw_length(input_length)
        )
        has_fixed_length = salient is None and not self.corruption.whole_characters
        self.input_length = input_length if has_fixed_length else None
        target_length = self.corruption.lengths(self.raw_length)[1]
        self.target_length = target_length if has_fixed_length else None
        self._longest_copy = min(target_length, input_length) - 1
        if (self.copies.share or self.copies.early) and self._longest_copy < _MIN_TEXT:
            raise InputError(
                f"density {self.corruption.density}, input length {input_length}: copies would have"
                f" at most {self._longest_copy} bytes, which teach nothing; raise --density or"
                " --input-length, or leave copies out"
            )
        self._longest_short = input_length - 1
        self._longest_lookup = input_length - 1 - MAX_SPANS
        self.sources = list(shards.sources)
        self._chunks = Chunks(list(shards), self.raw_length)
        last = np.cumsum([len(shards.sources[name]) for name in self.sources])
        self._first_chunk = np.concatenate([[0], np.cumsum(self._chunks.counts)[last - 1]])
        sizes = {name: sum(s.bytes for s in shards.sources[name]) for name in self.sources}
        shares = shares_by_weight(sizes, weights or {})
        self.mixture = Mixture(np.diff(self._first_chunk).tolist(), shares, seed)
        self._key = key(seed, _SPANS)
        self._copy_key = key(seed, _COPIES)
        self._short_key = key(seed, _SHORT)
        self._lookup_key = key(seed, _LOOKUPS)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The examples of these indices, from 0 on without end."""
        indices = np.asarray(indices, np.int64)
        source, chunk = self.mixture(indices)
        return self._make(indices, self._first_chunk[source] + chunk.astype(np.int64))

    def of_source(self, name: str, numbers: Sequence[int] | np.ndarray) -> Batch:
        """Chunks of one source as examples, in the order of the source."""
        numbers = np.asarray(numbers, np.int64)
        return self._make(numbers, self._first_chunk[self.sources.index(name)] + numbers)

    def mean_bytes(self, examples: int) -> float:
        """Bytes of text that one of the first so many examples reads, on average."""
        share = self.copies.mean(examples)
        lookups = self.lookups.mean(examples)
        read = self.raw_length + lookups * min(0, self._longest_lookup - self.raw_length)
        whole = (1 - share) * read + share * self._longest_copy
        short = (1 - share) * _mean_short(self._longest_short)
        short += share * _mean_short(self._longest_copy)
        return (1 - self.short) * whole + self.short * short

    def chunks_of(self, name: str) -> int:
        """How many chunks a source has."""
        return int(np.diff(self._first_chunk)[self.sources.index(name)])

    def _make(self, indices: np.ndarray, chunks: np.ndarray) -> Batch:
        rows = np.zeros((len(indices), self._chunks.row_size), np.uint8)
        begins, ends = self._chunks.read(chunks, rows)
        numbers = indices.astype(np.uint64)
        keys = mix(self._key ^ mix(numbers))
        if self.salient or self.corruption.whole_characters:
            rows, begins, ends = _left_aligned(rows, begins), np.zeros_like(begins), ends - begins
        texts = parts = ends
        copies = np.minimum(ends, begins + self._longest_copy)
        if self.short:
            lengths = uniform(mix(self._short_key ^ mix(numbers)), 3)
            texts, parts = self._shortened(rows, begins, ends, lengths)
            is_short = lengths[:, 0] < self.short
            copies = np.where(is_short, _earlier(begins, copies, lengths[:, 1]), copies)
        sizes = parts - begins
        spans = draw_spans(self.corruption, sizes, keys, rows)
        if self.salient:
            spans = self.salient.replace(spans, rows, sizes, keys, self.corruption.density)
        is_copy = uniform(mix(self._copy_key ^ mix(numbers)), 1)[:, 0] < self.copies.at(indices)
        if is_copy.any():
            texts = np.where(is_copy, _between_characters(rows, copies, -1), texts)
            spans = Spans(*(np.where(is_copy, 0, part.T).T for part in spans))
        batch = mask_spans(
            rows, begins, texts - begins, spans, self.input_length, self.target_length
        )
        shares = self.lookups.at(indices)
        if not shares.any():
            return batch
        others = {}
        draws = uniform(mix(self._lookup_key ^ mix(numbers)), 1 + NUMBERS)
        ends = np.minimum(texts, begins + self._longest_lookup)
        ends = _between_characters(rows, ends, -1)
        for row in np.flatnonzero(~is_copy & (draws[:, 0] < shares)).tolist():
            pair = lookup_example(rows[row, begins[row] : ends[row]], draws[row, 1:])
            if pair is not None:
                others[row] = pair
        return _replaced(batch, others) if others else batch

    def _shortened(
        self, rows: np.ndarray, begins: np.ndarray, ends: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where texts end, and where the part of them does that spans are drawn in."""
        is_short = lengths[:, 0] < self.short
        # However little of it is masked, a text that fits as it is does.
        most = np.minimum(ends, begins + self._longest_short)
        texts = _between_characters(rows, _earlier(begins, most, lengths[:, 1]), -1)
        parts = begins + ((texts - begins) * (1 - lengths[:, 2] / 2)).astype(np.int64)
        parts = _between_characters(rows, parts, -1)
        # One character alone cannot be masked in part.
        parts = np.where(parts > _between_characters(rows, begins + 1, 1), parts, texts)
        return np.where(is_short, texts, ends), np.where(is_short, parts, ends)


def _earlier(begins: np.ndarray, ends: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Earlier ends of texts, chosen by uniform numbers: mostly of short texts."""
    least = np.minimum(ends - begins, _MIN_TEXT)
    return begins + least + ((ends - begins - least) * numbers**2).astype(np.int64)


def _mean_short(size: int) -> float:
    """The mean length of texts of this size once they are shortened."""
    least = min(size, _MIN_TEXT)
    return least + (size - least) / 3


def _replaced(batch: Batch, others: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Batch:
    """The batch with other input and target ids in some rows, as wide as it needs to be."""
    padded = []
    for which, (ids, pad) in enumerate(zip(batch, (PAD, IGNORED), strict=True)):
        needed = max(len(pair[which]) for pair in others.values())
        ids = np.pad(ids, ((0, 0), (0, max(0, needed - ids.shape[1]))), constant_values=pad)
        for row, pair in others.items():
            ids[row] = pad
            ids[row, : len(pair[which])] = pair[which]
        padded.append(ids)
    return Batch(*padded)


def _left_aligned(rows: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Moves what begins at `begins` in rows to 0, in place."""
    for moved in range(1, _MAX_MOVED + 1):
        which = begins == moved
        rows[which, :-moved] = rows[which, moved:]
    return rows


__all__ = ["Chunks", "Examples", "Share"]
