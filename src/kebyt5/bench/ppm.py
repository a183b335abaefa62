"""Prediction by partial matching: a baseline that predicts bytes from counts of their contexts.

PPM-D (Howard 1993) of a fixed order, with update exclusion and full exclusion, trained once and not
adapted to the text that it predicts. For a context in which symbol s was counted c_s times, with n
counts in all and u different symbols,

    p(s) = (2 c_s - 1) / 2n,    p(escape) = u / 2n.

After an escape, the context without its oldest byte predicts among the symbols that were not
counted in the longer one; after the empty context, all remaining symbols are equally likely. An
unseen context is skipped. With update exclusion a symbol is counted in a context only if no longer
context had it already, so its count is the number of different longer contexts it was seen in.
"""

from collections.abc import Iterable

import numpy as np

SYMBOLS = 256
_SYMBOL_BITS = 8
_MAX_BYTES = 1 << 24
"""Number of windows that are sorted at a time, 128 MB of them."""


class PPM:
    """Counts of all contexts up to an order, sorted by context and symbol.

    A row is a context, oldest byte first, and the symbol after it, as one integer. Within an order,
    all rows of a context are adjacent, as are those of contexts with a common beginning, so the
    totals of a context are differences of running sums.

    Args:
        texts: Texts to learn, uint8 (n,) each. No context extends from one into another.
        order: Bytes of the longest context, from 0 to 7.

    Raises:
        ValueError: The order is out of range, or all texts are too short for one context.
    """

    def __init__(self, texts: Iterable[np.ndarray], order: int) -> None:
        if not 0 <= order <= 7:
            raise ValueError(f"order {order}: has to be 0 to 7, so that a row fits into 64 bits")
        self.order = order
        rows, counts = _count(texts, order)
        if not len(rows):
            raise ValueError(f"no text is longer than the {order} bytes of a context")
        orders = []
        for length in range(order, 0, -1):
            shorter = rows & np.uint64((1 << _SYMBOL_BITS * length) - 1)
            parents, parent_of, seen_in = np.unique(
                shorter, return_inverse=True, return_counts=True
            )
            orders.append(_Order(rows, counts, seen_in[parent_of]))
            rows, counts = parents, seen_in
        orders.append(_Order(rows, counts, np.zeros_like(counts)))
        self._orders = orders

    def bits(self, text: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Computes the cost of some bytes of a text, predicted from the bytes before them.

        Args:
            text: The text, uint8 (n,).
            places: Indices of the bytes to predict, (m,).

        Returns:
            -log2 of the probability of each byte, float64 (m,).
        """
        symbols = text[places].astype(np.uint64)
        bits = np.zeros(len(places))
        open_ = np.ones(len(places), bool)  # not found yet
        excluded = np.zeros(len(places), np.int64)  # symbols that a longer context has counted
        excluded_count = np.zeros(len(places), np.int64)  # their counts in the current context
        for length, order in zip(range(self.order, -1, -1), self._orders, strict=True):
            contexts, has_context = _contexts(text, places, length)
            first, last, own = order.find(contexts, symbols)
            different = np.where(has_context, last - first, 0)
            total = order.counts_before[last] - order.counts_before[first]
            left = np.where(has_context, total - excluded_count, 0)
            asks = open_ & (left > 0)
            found = asks & (own > 0)
            bits[found] -= np.log2((2 * own[found] - 1) / (2 * left[found]))
            escapes = asks & ~found
            bits[escapes] -= np.log2((different - excluded)[escapes] / (2 * left[escapes]))
            open_ &= ~found
            is_known = has_context & (different > 0)
            excluded = np.where(is_known, different, 0)
            inherited = order.parents_before[last] - order.parents_before[first]
            excluded_count = np.where(is_known, inherited, 0)
        bits[open_] += np.log2(SYMBOLS - excluded[open_])
        return bits


class _Order:
    """The rows of one order with running sums of their counts and of those of their parents."""

    def __init__(self, rows: np.ndarray, counts: np.ndarray, parents: np.ndarray) -> None:
        self.rows = rows
        self.counts = counts
        self.counts_before, self.parents_before = (
            np.concatenate([[0], np.cumsum(values, dtype=np.int64)]) for values in (counts, parents)
        )

    def find(
        self, contexts: np.ndarray, symbols: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Finds the first and end row of each context, and the count of the symbol in it."""
        begin = contexts << np.uint64(_SYMBOL_BITS)
        first = np.searchsorted(self.rows, begin)
        last = np.searchsorted(self.rows, begin | np.uint64(SYMBOLS - 1), side="right")
        place = np.minimum(np.searchsorted(self.rows, begin | symbols), len(self.rows) - 1)
        is_there = self.rows[place] == begin | symbols
        return first, last, np.where(is_there, self.counts[place], 0)


def _contexts(text: np.ndarray, places: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Packs the bytes before each place into a uint64, and tells whether there are enough."""
    contexts = np.zeros(len(places), np.uint64)
    for distance in range(length, 0, -1):
        before = text[np.maximum(places - distance, 0)].astype(np.uint64)
        contexts = contexts << np.uint64(_SYMBOL_BITS) | before
    return contexts, places >= length


def _count(texts: Iterable[np.ndarray], order: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds all distinct windows of order + 1 bytes, sorted, and how often each occurs."""
    rows, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for text in texts:
        for begin in range(0, len(text) - order, _MAX_BYTES):
            part = text[begin : begin + _MAX_BYTES + order]
            windows, _ = _contexts(part, np.arange(order, len(part)), order)
            windows = windows << np.uint64(_SYMBOL_BITS) | part[order:]
            found, times = np.unique(windows, return_counts=True)
            merged, place = np.unique(np.concatenate([rows, found]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([counts, times])).astype(np.int64)
            rows = merged
    return rows, counts
