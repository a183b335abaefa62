"""Random numbers and permutations as functions of an index, for whole arrays at a time.

A generator with state would have to be advanced to where a run resumes; a hash of (seed, index)
needs no state.
"""

import numpy as np

from kebyt5.models.native import call, is_compiled

Uint64 = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = 4


def mix(values: Uint64) -> Uint64:
    """A bijection of 64-bit numbers whose outputs look random: SplitMix64 (Steele et al. 2014)."""
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def key(*parts: int) -> np.uint64:
    """Hashes several numbers, such as a seed, an epoch and a purpose, to one of 64 bits."""
    result: Uint64 = np.zeros(1, np.uint64)
    for part in parts:
        result = mix(result ^ mix(np.array([part], np.uint64)))
    return result[0]


def uniform(row_keys: Uint64, columns: int) -> np.ndarray:
    """Numbers in [0, 1), float64 (rows, columns), each a function of its row's key and column."""
    steps = np.arange(1, columns + 1, dtype=np.uint64) * _GOLDEN
    bits = mix(row_keys[:, None] + steps)
    return (bits >> np.uint64(11)) * 2.0**-53


def permute(indices: Uint64, sizes: Uint64, keys: Uint64) -> Uint64:
    """Maps indices by pseudorandom permutations of range(size).

    A Feistel network with unequal halves (Black & Rogaway 2002): an index is a pair (x, y) of
    numbers below a and b with a b >= size, and a hash of each is added to the other in turn.
    Results beyond the size go through the network again until they are below it.

    Args:
        indices: (n,).
        sizes: (n,), each larger than its index.
        keys: (n,), one per permutation.
    """
    a = np.ceil(np.sqrt(sizes)).astype(np.uint64)
    b = (sizes + a - np.uint64(1)) // a
    if is_compiled():
        result: Uint64 = np.empty(len(indices), np.uint64)
        given = (np.ascontiguousarray(each, np.uint64) for each in (indices, sizes, keys, a, b))
        call("permute", *given, result, len(result))
        return result
    result = indices.astype(np.uint64)
    waiting = np.arange(len(result))
    while len(waiting):
        rows, columns, chosen = a[waiting], b[waiting], keys[waiting]
        x, y = np.divmod(result[waiting], columns)
        for _ in range(_ROUNDS // 2):
            chosen = mix(chosen)
            x = (x + mix(chosen ^ y) % rows) % rows
            chosen = mix(chosen)
            y = (y + mix(chosen ^ x) % columns) % columns
        result[waiting] = x * columns + y
        waiting = waiting[result[waiting] >= sizes[waiting]]
    return result
