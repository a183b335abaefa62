"""Chooses the source and chunk of an example by arithmetic on its index."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kebyt5.errors import InputError
from kebyt5.pretraining.randomness import Uint64, key, mix, permute

BLOCK = 1 << 16
"""Consecutive examples in which each source has exactly its share, up to rounding."""

_SLOTS, _CHUNKS = 1, 2  # purposes of keys


class Mixture:
    """Draws chunks from sources in given shares, each chunk of a source once per pass over it.

    A permutation maps the indices of a block to its slots; the first slots belong to the first
    source, the next to the second, and so on. The number of a slot among those of its source,
    counted over all blocks, splits into a pass over the source and a place in that pass. Another
    permutation, different for every pass, maps the place to a chunk.

    Args:
        chunks: Number of chunks of each source.
        shares: Share of each source in the examples, up to a common factor.
        seed: Seed of the permutations.
    """

    def __init__(self, chunks: Sequence[int], shares: Sequence[float], seed: int) -> None:
        self.chunks = np.asarray(chunks, np.uint64)
        self.slots = _apportion(np.asarray(shares, np.float64))
        self._last_slots = np.cumsum(self.slots)
        self._slot_key = key(seed, _SLOTS)
        self._source_keys = np.array(
            [key(seed, _CHUNKS, source) for source in range(len(chunks))], np.uint64
        )

    def __call__(self, indices: np.ndarray) -> tuple[np.ndarray, Uint64]:
        """Returns source and chunk, (n,) each, of example indices, which start from 0."""
        indices = np.asarray(indices).astype(np.uint64)
        block, place = np.divmod(indices, np.uint64(BLOCK))
        slot = permute(place, np.full_like(place, BLOCK), mix(self._slot_key ^ mix(block)))
        source = np.searchsorted(self._last_slots, slot, side="right")
        size = self.slots[source]
        drawn = block * size + slot - (self._last_slots[source] - size)
        passes, place = np.divmod(drawn, self.chunks[source])
        keys = mix(self._source_keys[source] ^ mix(passes))
        return source, permute(place, self.chunks[source], keys)


def shares_by_weight(sizes: Mapping[str, int], weights: Mapping[str, float]) -> list[float]:
    """Computes shares proportional to size times weight; sources not named have weight 1.

    Raises:
        InputError: A weight is negative or names an unknown source, or all are 0.
    """
    for name, weight in weights.items():
        if name not in sizes:
            raise InputError(f"weight of {name}: no such source; there are {', '.join(sizes)}")
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"weight of {name}: {weight}, but has to be 0 or more")
    # Huge weights would overflow; to divide by a power of two changes no other digit.
    scale = 2.0 ** (math.frexp(max([*weights.values(), 1.0]))[1] - 1)
    shares = [size * (weights.get(name, 1.0) / scale) for name, size in sizes.items()]
    if not any(shares):
        raise InputError("weights: all are 0; give at least one source some weight")
    return shares


def _apportion(shares: np.ndarray) -> Uint64:
    """Divides the slots of a block by largest remainder; every share above 0 gets at least one."""
    exact = shares / shares.sum() * BLOCK
    slots = np.where(shares > 0, np.maximum(np.floor(exact), 1), 0).astype(np.int64)
    order = np.argsort(-(exact - slots), kind="stable")
    for source in order[: max(0, BLOCK - slots.sum())]:
        slots[source] += 1
    while slots.sum() > BLOCK:
        slots[slots.argmax()] -= 1
    return slots.astype(np.uint64)
