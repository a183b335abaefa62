"""PyTorch attention of the rows of a decoder pass, each over the cache of its own request."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from kebyt5.generation.cache import SlotCache
from kebyt5.models.attention import bias_table

_POSITIONS = 256  # of a new table of the relative bias


class RelativeBias:
    """T5's relative bias of the decoder's self-attention, by distance.

    Args:
        attention: Self-attention of the first block, which holds the bias of all blocks.

    Attributes:
        middle: Column of distance zero.
        table: (heads, 2 * middle + 1); column `middle + key - query`, -inf for later keys.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self.middle = 0
        self.reach(_POSITIONS)

    @torch.no_grad()
    def reach(self, positions: int) -> None:
        """Makes the table wide enough for that many positions, at least doubling it."""
        if positions <= self.middle:
            return
        self.middle = max(positions, 2 * self.middle)
        device = self._attention.relative_attention_bias.weight.device
        self.table = bias_table(self._attention, self.middle + 1, device).flip(1)

    def of(self, position: int, rows: int) -> Tensor:
        """The bias (heads, rows, keys) of queries from `position` on, over keys up to the last."""
        keys = position + rows
        first = self.middle - (keys - 1)
        window = self.table[:, first : first + keys + rows - 1]
        return window.unfold(1, keys, 1).flip(1)


class SlotAttention:
    """Computes the attentions of one pass, one request after the other.

    Args:
        caches: Caches of the requests.
        counts: Rows of each request in this pass.
        bias: Relative bias that reaches all positions of the pass.
    """

    def __init__(
        self, caches: Sequence[SlotCache], counts: Sequence[int], bias: RelativeBias
    ) -> None:
        bounds = pairwise(accumulate(counts, initial=0))
        self._parts = list(zip(caches, (slice(*bound) for bound in bounds), strict=True))
        self._biases = [
            bias.of(cache.length, rows) for cache, rows in zip(caches, counts, strict=True)
        ]

    def own(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Appends keys and values to the caches and attends causally to all that they hold.

        Args:
            layer: Number of the decoder layer.
            query: (rows, heads, d_kv), the requests concatenated.
            key: (rows, heads, d_kv), the requests concatenated.
            value: (rows, heads, d_kv), the requests concatenated.

        Returns:
            (rows, heads * d_kv).
        """
        mixed = []
        for (cache, rows), bias in zip(self._parts, self._biases, strict=True):
            keys, values = cache.extend(layer, key[rows], value[rows])
            mixed.append(_attend(query[rows], keys, values, bias))
        return _joined(mixed)

    def cross(self, layer: int, query: Tensor) -> Tensor:
        """Attends to each request's encoder states; shapes as in `own`."""
        return _joined([_attend(query[rows], *cache.cross[layer]) for cache, rows in self._parts])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return (parts[0] if len(parts) == 1 else torch.cat(list(parts))).flatten(1)


def _attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention without scaling of queries (rows, heads, d_kv); returns the same shape."""
    # For a few queries this is faster than the fused kernel: it reads keys and values once.
    scores = torch.matmul(query.transpose(0, 1), keys.transpose(1, 2))
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype)
    return torch.matmul(weights, values).transpose(0, 1)
