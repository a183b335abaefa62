"""Products of banded matrices with one long sequence of vectors or of table lookups."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 256
"""Rows looked up at a time: 1.5 MB with D = 1536, to fit into the cache."""


def windows(x: Tensor, count: int, width: int, step: int) -> Tensor:
    """Views x (N, D) as overlapping windows (count, width, D), `step` rows apart."""
    dim = x.shape[1]
    return x.as_strided((count, width, dim), (step * dim, dim, 1))


def add_windows(tiles: Tensor, grad: Tensor, out: Tensor, step: int) -> None:
    """Adds the transposed product of tiles (T, rows, width) with grad (T, rows, D) to out."""
    count, _, width = tiles.shape
    dim = out.shape[1]
    for start in range(0, width, step):  # each slice of the windows is free of overlaps
        part = tiles[:, :, start : start + step].transpose(1, 2)
        rows = out.as_strided((count, part.shape[1], dim), (step * dim, dim, 1), start * dim)
        rows.baddbmm_(part, grad)


class BandedProduct(torch.autograd.Function):
    """Multiplies a banded matrix, given by dense tiles, with a long sequence of vectors.

    Tile i covers the `width` rows of `x` from `i * step` on; consecutive tiles overlap by
    `width - step` rows. The windows are strided views, so `x` is never copied. It can be
    differentiated once, in backward mode.
    """

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, x: Tensor, step: int) -> Tensor:
        """Maps tiles (T, rows, width) and x (T * step + width - step, D) to (T, rows, D)."""
        ctx.save_for_backward(tiles, x)
        ctx.step = step
        count, _, width = tiles.shape
        return torch.bmm(tiles, windows(x, count, width, step))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Differentiates with respect to tiles and x."""
        tiles, x = ctx.saved_tensors
        count, _, width = tiles.shape
        grad_tiles = grad_x = None
        if ctx.needs_input_grad[0]:
            view = windows(x, count, width, ctx.step)
            grad_tiles = torch.bmm(grad, view.transpose(1, 2))
        if ctx.needs_input_grad[1]:
            grad_x = torch.zeros_like(x)
            add_windows(tiles, grad, grad_x, ctx.step)
        return grad_tiles, grad_x, None


class BandedLookup(torch.autograd.Function):
    """`BandedProduct` with x_t = sum over k of table[k, ids[t + k]]; x is never stored whole.

    `table` is (K, V, D), and `ids` has K - 1 entries more than the sequence has rows. Rows are
    gathered, multiplied and dropped for a few tiles at a time; the backward pass gathers them
    again. An embedding followed by a depthwise convolution is such a sum.
    """

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, table: Tensor, ids: Tensor, step: int) -> Tensor:
        """Maps tiles (T, rows, width) to (T, rows, D)."""
        ctx.save_for_backward(tiles, table, ids)
        ctx.step = step
        output = tiles.new_empty(*tiles.shape[:2], table.shape[2])
        for part, x, _ in BandedLookup.stretches(tiles, table, ids, step):
            view = windows(x, len(output[part]), tiles.shape[2], step)
            torch.bmm(tiles[part], view, out=output[part])
        return output

    @staticmethod
    def stretches(
        tiles: Tensor, table: Tensor, ids: Tensor, step: int
    ) -> Iterator[tuple[slice, Tensor, slice]]:
        """Yields ranges of tiles with the rows (N, D) they cover and where those begin in ids."""
        count, _, width = tiles.shape
        kernel, vocabulary, dim = table.shape
        bags = ids.unfold(0, kernel, 1) + torch.arange(kernel, device=ids.device) * vocabulary
        size = max(1, CHUNK // step) if table.device.type == "cpu" else count
        for first in range(0, count, size):
            part = slice(first, min(first + size, count))
            rows = slice(part.start * step, part.stop * step + width - step)
            yield part, F.embedding_bag(bags[rows], table.view(-1, dim), mode="sum"), rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Differentiates with respect to tiles and table."""
        tiles, table, ids = ctx.saved_tensors
        step = ctx.step
        grad_tiles = torch.empty_like(tiles) if ctx.needs_input_grad[0] else None
        grad_table = torch.zeros_like(table) if ctx.needs_input_grad[1] else None
        for part, x, rows in BandedLookup.stretches(tiles, table, ids, step):
            if grad_tiles is not None:
                view = windows(x, len(grad_tiles[part]), tiles.shape[2], step)
                torch.bmm(grad[part], view.transpose(1, 2), out=grad_tiles[part])
            if grad_table is not None:
                add_windows(tiles[part], grad[part], x.zero_(), step)
                for k in range(len(table)):
                    grad_table[k].index_add_(0, ids[rows.start + k : rows.stop + k], x)
        return grad_tiles, grad_table, None, None
