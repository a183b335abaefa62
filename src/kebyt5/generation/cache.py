"""Keys and values of one request: of its own bytes, growing, and of its input, fixed.

Every request has caches of its own, as long as it is, so that no attention reads padding and
requests join and leave without moving anybody else's.
"""

from copy import copy

from torch import Tensor


class SlotCache:
    """What the attentions of the decoder remember of one request.

    Bytes that turn out wrong are taken back by setting `length`; what lies beyond it is
    overwritten.

    Args:
        cross: Keys and values over the n encoder states, (layers, 2, heads, n, d_kv), contiguous.
        capacity: Positions for which memory is set aside at first.

    Attributes:
        cross: As given.
        kept: Keys and values of its own bytes, (layers, 2, heads, capacity, d_kv).
        length: Positions that count.
    """

    def __init__(self, cross: Tensor, capacity: int = 64) -> None:
        self.cross = cross
        self.length = 0
        layers, pair, heads, _, d_kv = cross.shape
        self.keys_values = cross.new_empty(layers, pair, heads, capacity, d_kv)

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
        """One that goes on from here by itself; what is over the input is shared."""
        twin = copy(self)
        twin.keys_values = self.keys_values.clone()
        return twin

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes what belongs behind `length`, which itself stays.

        Args:
            layer: Of the decoder.
            keys: (rows, heads, d_kv); `reserve` has made room for them.
            values: Likewise.

        Returns:
            All keys and all values, (heads, length + rows, d_kv).
        """
        end = self.length + keys.shape[0]
        kept = self.keys_values[layer, :, :, :end]
        kept[0, :, self.length :] = keys.transpose(0, 1)
        kept[1, :, self.length :] = values.transpose(0, 1)
        return kept[0], kept[1]


__all__ = ["SlotCache"]
