"""Keys and values of one request: of its own bytes, growing, and of its input, fixed.

Every request has caches of its own, as long as it is, so that no attention reads padding and
requests join and leave without moving anybody else's.
"""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor


class SlotCache:
    """What the attentions of the decoder remember of one request.

    Bytes that turn out wrong are taken back by setting `length`; what lies beyond it is
    overwritten.

    Args:
        cross: For each layer the keys and the values over the n encoder states, both of shape
            (1, heads, n, d_kv).
        capacity: Positions for which memory is set aside at first.

    Attributes:
        cross: As given.
        length: Positions that count.
    """

    def __init__(self, cross: Sequence[tuple[Tensor, Tensor]], capacity: int = 64) -> None:
        self.cross = cross
        self.length = 0
        key = cross[0][0]
        shape = (len(cross), 2, key.shape[1], capacity, key.shape[3])
        self._kept = torch.empty(shape, dtype=key.dtype, device=key.device)

    def reserve(self, positions: int) -> None:
        """Makes room for that many positions, at least doubling what there is."""
        capacity = self._kept.shape[3]
        if positions <= capacity:
            return
        *outer, _, d_kv = self._kept.shape
        grown = self._kept.new_empty(*outer, max(positions, 2 * capacity), d_kv)
        grown[:, :, :, : self.length] = self._kept[:, :, :, : self.length]
        self._kept = grown

    def copy(self) -> "SlotCache":
        """One that goes on from here by itself; what is over the input is shared."""
        twin = copy(self)
        twin._kept = self._kept.clone()
        return twin

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes what belongs behind `length`, which itself stays.

        Args:
            layer: Of the decoder.
            keys: (rows, heads, d_kv); `reserve` has made room for them.
            values: Likewise.

        Returns:
            All keys and all values, (1, heads, length + rows, d_kv).
        """
        end = self.length + keys.shape[0]
        kept = self._kept[layer, :, :, :end]
        kept[0, :, self.length :] = keys.transpose(0, 1)
        kept[1, :, self.length :] = values.transpose(0, 1)
        return kept[0, None], kept[1, None]


__all__ = ["SlotCache"]
