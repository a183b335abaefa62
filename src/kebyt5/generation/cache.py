"""Keys and values of one request: those of its output, which grow, and of its input, fixed.

Every request has its own cache, just as long as needed, so that attention reads no padding and
requests join and leave without moving the caches of others.
"""

from copy import copy

from torch import Tensor

_CAPACITY = 64  # output positions that a new cache has room for


class SlotCache:
    """The key-value cache of one request.

    To take back bytes that turned out wrong, reduce `length`; what lies beyond it is overwritten.

    Args:
        cross: Keys and values of the n encoder states, (layers, 2, heads, n, d_kv), contiguous.

    Attributes:
        cross: Keys and values of the encoder states, as given.
        keys_values: Keys and values of the output, (layers, 2, heads, capacity, d_kv).
        length: Cached output positions.
    """

    def __init__(self, cross: Tensor) -> None:
        self.cross = cross
        self.length = 0
        layers, pair, heads, _, d_kv = cross.shape
        self.keys_values = cross.new_empty(layers, pair, heads, _CAPACITY, d_kv)

    def reserve(self, positions: int) -> None:
        """Makes room for that many positions, at least doubling what there is."""
        capacity = self.keys_values.shape[3]
        if positions <= capacity:
            return
        *outer, _, d_kv = self.keys_values.shape
        grown = self.keys_values.new_empty(*outer, max(positions, 2 * capacity), d_kv)
        grown[:, :, :, : self.length] = self.keys_values[:, :, :, : self.length]
        self.keys_values = grown

    def copy(self) -> "SlotCache":
        """A cache that grows independently; `cross` is shared."""
        twin = copy(self)
        twin.keys_values = self.keys_values.clone()
        return twin

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes keys and values from position `length` on; the caller advances `length`.

        Args:
            layer: Number of the decoder layer.
            keys: (rows, heads, d_kv); call `reserve` first to make room for them.
            values: (rows, heads, d_kv).

        Returns:
            All keys and all values, (heads, length + rows, d_kv).
        """
        end = self.length + keys.shape[0]
        cached = self.keys_values[layer, :, :, :end]
        cached[0, :, self.length :] = keys.transpose(0, 1)
        cached[1, :, self.length :] = values.transpose(0, 1)
        return cached[0], cached[1]
