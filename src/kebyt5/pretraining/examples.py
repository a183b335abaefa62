"""Training examples from byte shards: each is a function of (shards, seed, index).

There is no state from one example to the next, so resuming a run, dividing it among devices and
reshuffling for every pass over the corpus are arithmetic on indices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kebyt5.corpus.shards import Shard, Shards
from kebyt5.errors import InputError
from kebyt5.models.modeling_kebyt5 import IGNORED
from kebyt5.models.native import call, is_compiled
from kebyt5.models.tokenization_kebyt5 import PAD
from kebyt5.pretraining.lookups import NUMBERS, lookup_example
from kebyt5.pretraining.mixture import Mixture, shares_by_weight
from kebyt5.pretraining.randomness import key, mix, uniform
from kebyt5.pretraining.salient import SalientSpans
from kebyt5.pretraining.spans import (
    MAX_SPANS,
    Batch,
    SpanCorruption,
    Spans,
    draw_spans,
    mask_spans,
)

_MAX_MOVED = 3
"""Most bytes by which a boundary has to move to fall between two characters."""

_MIN_INPUT = 32
_MIN_TEXT = 16  # bytes, some five syllables
_SPANS, _COPIES, _SHORT, _LOOKUPS = 3, 4, 5, 6  # purposes of keys


class Chunks:
    """The text of shards in chunks that begin and end between characters.

    All chunks of a shard have `size` bytes, minus up to 3 where that would cut a character; a
    shorter shard is a single chunk. Chunks cover every byte and overlap by a few. A chunk may
    contain several documents, separated by newlines, and parts of documents.

    Args:
        shards: Shards to read; chunks are numbered across all of them.
        size: Bytes of a chunk, 8 or more.

    Attributes:
        counts: Number of chunks of each shard.
        sizes: Bytes of a chunk of each shard.
    """

    def __init__(self, shards: Sequence[Shard], size: int) -> None:
        self.shards = shards
        self.size = size
        self._bytes = np.array([shard.bytes for shard in shards], np.int64)
        self.sizes = np.minimum(self._bytes, size)
        # One of any four successive places is between characters, so three common bytes rule out
        # a gap between two chunks.
        step = size - _MAX_MOVED
        self._steps = -(-np.maximum(self._bytes - size, 0) // step)
        self._last = np.cumsum(self._steps + 1)
        self.counts = self._steps + 1

    @cached_property
    def _addresses(self) -> np.ndarray:
        """The address of each shard in memory."""
        return np.array([shard.data.__array_interface__["data"][0] for shard in self.shards])

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the addresses, for data-loader processes that are not forked."""
        return {name: value for name, value in vars(self).items() if name != "_addresses"}

    def __len__(self) -> int:
        return int(self._last[-1])

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads chunks.

        Args:
            numbers: Numbers of the chunks, (n,).

        Returns:
            A row of bytes for each chunk, with a few more at both ends, uint8 (n, `size` + 4), and
            where in its row the chunk begins and ends, int64 (n,).
        """
        rows = np.zeros((len(numbers), self.size + _MAX_MOVED + 1), np.uint8)
        shard = np.searchsorted(self._last, numbers, side="right")
        steps, total = self._steps[shard], self._bytes[shard]
        number = numbers - (self._last[shard] - steps - 1)
        low = number * (total - self.size) // np.maximum(steps, 1)
        # Including the byte after the end, which shows whether the end cuts a character.
        high = np.minimum(low + rows.shape[1], total)
        if is_compiled():
            call("read_chunks", self._addresses[shard] + low, high - low, rows, *rows.shape)
        else:
            for row, which, first, last in zip(rows, shard, low, high, strict=True):
                row[: last - first] = self.shards[which].data[first:last]
        begins = _between_characters(rows, np.zeros_like(low), 1)
        ends = np.minimum(begins + self.size, total - low)
        return rows, begins, _between_characters(rows, ends, -1)


def _between_characters(rows: np.ndarray, places: np.ndarray, step: int) -> np.ndarray:
    """Moves places in rows, (n,), forward (step 1) or back (-1) to where a character begins."""
    every = np.arange(len(rows))
    for _ in range(_MAX_MOVED):
        places = places + step * ((rows[every, places] & 0xC0) == 0x80)
    return places


@dataclass(frozen=True)
class Share:
    """The share of examples of a kind, which may fall at the beginning of a run.

    A model learns to copy suddenly, and the sooner the more copies it sees; afterwards they teach
    it nothing new. The same holds for lookups.

    Attributes:
        share: Final share of the examples, from 0 to less than 1.
        early: Share at the first example, from which it falls linearly.
        examples: Number of examples after which it reaches `share`.
    """

    share: float = 0.0
    early: float = 0.0
    examples: int = 0

    def mean(self, examples: int) -> float:
        """The mean share over the first `examples` examples."""
        falling = min(examples, self.examples)
        # The sum of (1 - i / examples) over the indices i at which it falls.
        total = falling - falling * (falling - 1) / 2 / max(self.examples, 1)
        return self.share + (self.early - self.share) * total / examples

    def at(self, indices: np.ndarray) -> np.ndarray:
        """The probability that an example is of the kind, for each index."""
        rest = np.maximum(self.examples - indices, 0) / max(self.examples, 1)
        return self.share + (self.early - self.share) * rest


class Examples:
    """Makes pairs of corrupted input and target from all sources of a folder of shards.

    Args:
        shards: Shards to read.
        input_length: Ids of an input, `</s>` included. Exact or up to 3 fewer with spans over
            bytes; a maximum with salient spans; the mean with whole characters. Short texts and
            shards shorter than a chunk give fewer.
        corruption: Density and mean length of the masked spans.
        weights: Weights of sources, relative to their sizes; 1 if not named.
        seed: Seed of order and spans.
        salient: Finds the spans to mask; texts without any keep random spans.
        copies: Share of examples whose input and target are both the beginning of a chunk. They
            prepare for tasks whose output repeats the input.
        short: Share of the examples, copies included, whose text ends early. By T5's rule all
            inputs have the same number of spans and end with one, and a model would rely on both;
            short texts have fewer spans, and up to half of the text follows the last one.
        lookups: Share of the non-copy examples that ask for words with sentinels in them, see
            `kebyt5.pretraining.lookups`.

    Raises:
        InputError: `input_length` is too short, or too short for copies, or a weight is invalid.

    Attributes:
        sources: Names of the sources in order.
        raw_length: Most bytes of a chunk.
        input_length: Ids of an input if its width is fixed (spans over bytes, not salient), else
            None.
        target_length: Ids of a target if its width is fixed, else None.
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
        # Even if little of a text is salient, its input does not get longer.
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
        shards_of = [len(shards.sources[name]) for name in self.sources]
        self._source_of = np.repeat(np.arange(len(self.sources)), shards_of)
        last = np.cumsum(self._chunks.counts)[np.cumsum(shards_of) - 1]
        self._first_chunk = np.concatenate([[0], last])
        sizes = {name: sum(s.bytes for s in shards.sources[name]) for name in self.sources}
        shares = shares_by_weight(sizes, weights or {})
        self.mixture = Mixture(np.diff(self._first_chunk).tolist(), shares, seed)
        self._key = key(seed, _SPANS)
        self._copy_key = key(seed, _COPIES)
        self._short_key = key(seed, _SHORT)
        self._lookup_key = key(seed, _LOOKUPS)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The examples at these indices, which start from 0 and have no end."""
        indices = np.asarray(indices, np.int64)
        source, chunk = self.mixture(indices)
        return self._make(indices, self._first_chunk[source] + chunk.astype(np.int64))

    def of_source(self, name: str, numbers: Sequence[int] | np.ndarray) -> Batch:
        """Examples from the chunks of one source with these numbers."""
        numbers = np.asarray(numbers, np.int64)
        return self._make(numbers, self._first_chunk[self.sources.index(name)] + numbers)

    def mean_bytes(self, examples: int) -> float:
        """The mean number of bytes of text over the first `examples` examples."""
        share = self.copies.mean(examples)
        lookups = self.lookups.mean(examples)
        read = (1 - lookups) * self._mean_chunk(self.raw_length)
        read += lookups * self._mean_chunk(self._longest_lookup)
        whole = (1 - share) * read + share * self._mean_chunk(self._longest_copy)
        short = (1 - share) * _mean_short(self._mean_chunk(self._longest_short))
        short += share * _mean_short(self._mean_chunk(self._longest_copy))
        return (1 - self.short) * whole + self.short * short

    def _mean_chunk(self, most: int) -> float:
        """The mean size of the chunks that are drawn, each cut to `most` bytes."""
        counts = self._chunks.counts
        sizes = np.bincount(self._source_of, counts * np.minimum(self._chunks.sizes, most))
        means = sizes / np.bincount(self._source_of, counts)
        return float(np.average(means, weights=self.mixture.slots))

    def chunks_of(self, name: str) -> int:
        """The number of chunks of a source."""
        return int(np.diff(self._first_chunk)[self.sources.index(name)])

    def _make(self, indices: np.ndarray, chunks: np.ndarray) -> Batch:
        rows, begins, ends = self._chunks.read(chunks)
        numbers = indices.astype(np.uint64)
        if self.salient or self.corruption.whole_characters:
            _align_left(rows, begins)
            begins, ends = np.zeros_like(begins), ends - begins
        texts, parts, copies = self._ends(numbers, rows, begins, ends)
        sizes = parts - begins
        keys = mix(self._key ^ mix(numbers))
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
        return self._with_lookups(batch, indices, is_copy, rows, begins, texts)

    def _ends(
        self, numbers: np.ndarray, rows: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ends of the texts, of the parts in which spans are drawn, and of texts as copies."""
        copies = np.minimum(ends, begins + self._longest_copy)
        if not self.short:
            return ends, ends, copies
        lengths = uniform(mix(self._short_key ^ mix(numbers)), 3)
        texts, parts = self._shortened(rows, begins, ends, lengths)
        is_short = lengths[:, 0] < self.short
        return texts, parts, np.where(is_short, _earlier(begins, copies, lengths[:, 1]), copies)

    def _shortened(
        self, rows: np.ndarray, begins: np.ndarray, ends: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the texts, and ends of the parts of them in which spans are drawn."""
        is_short = lengths[:, 0] < self.short
        # A text that fits unmasked fits however little of it is masked.
        most = np.minimum(ends, begins + self._longest_short)
        texts = _between_characters(rows, _earlier(begins, most, lengths[:, 1]), -1)
        parts = begins + ((texts - begins) * (1 - lengths[:, 2] / 2)).astype(np.int64)
        parts = _between_characters(rows, parts, -1)
        # A part of a single character cannot be masked in part; take the whole text then.
        parts = np.where(parts > _between_characters(rows, begins + 1, 1), parts, texts)
        return np.where(is_short, texts, ends), np.where(is_short, parts, ends)

    def _with_lookups(
        self,
        batch: Batch,
        indices: np.ndarray,
        is_copy: np.ndarray,
        rows: np.ndarray,
        begins: np.ndarray,
        texts: np.ndarray,
    ) -> Batch:
        """Replaces some examples, of those that are no copies, by lookups in the same texts."""
        shares = self.lookups.at(indices)
        if not shares.any():
            return batch
        draws = uniform(mix(self._lookup_key ^ mix(indices.astype(np.uint64))), 1 + NUMBERS)
        ends = np.minimum(texts, begins + self._longest_lookup)
        ends = _between_characters(rows, ends, -1)
        others = {}
        for row in np.flatnonzero(~is_copy & (draws[:, 0] < shares)).tolist():
            pair = lookup_example(rows[row, begins[row] : ends[row]], draws[row, 1:])
            if pair is not None:
                others[row] = pair
        return _replaced(batch, others) if others else batch


def _earlier(begins: np.ndarray, ends: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Chooses earlier ends of texts by uniform numbers; most of the texts become short."""
    least = np.minimum(ends - begins, _MIN_TEXT)
    return begins + least + ((ends - begins - least) * numbers**2).astype(np.int64)


def _mean_short(size: float) -> float:
    """The mean length of texts of `size` bytes after shortening."""
    least = min(size, _MIN_TEXT)
    return least + (size - least) / 3


def _replaced(batch: Batch, others: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Replaces input and target ids in some rows, widening the batch as needed."""
    padded = []
    for which, (ids, pad) in enumerate(zip(batch, (PAD, IGNORED), strict=True)):
        needed = max(len(pair[which]) for pair in others.values())
        ids = np.pad(ids, ((0, 0), (0, max(0, needed - ids.shape[1]))), constant_values=pad)
        for row, pair in others.items():
            ids[row] = pad
            ids[row, : len(pair[which])] = pair[which]
        padded.append(ids)
    return Batch(*padded)


def _align_left(rows: np.ndarray, begins: np.ndarray) -> None:
    """Shifts each row left, in place, so that its text begins at 0."""
    for moved in range(1, _MAX_MOVED + 1):
        which = begins == moved
        rows[which, :-moved] = rows[which, moved:]


__all__ = ["Chunks", "Examples", "Share"]
