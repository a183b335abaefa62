"""Arrays of ids: rows of one width, the narrowest type, and memory for long texts."""

from __future__ import annotations

from typing import Any

import numpy as np


def pad_rows(
    flat: np.ndarray, lengths: np.ndarray, width: int, pad_id: int, left: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Makes rows of one width.

    Args:
        flat: The rows back to back, int64 (ids,).
        lengths: The length of each row, (rows,), at most `width`.
        width: Number of columns.
        pad_id: The id that fills the rest of a row.
        left: Whether to pad on the left.

    Returns:
        The rows and the mask of their own ids, both int64 (rows, width).
    """
    if lengths.min() == width:
        ids = flat.reshape(-1, width)
        return ids, np.ones_like(ids)
    is_real = np.arange(width) < lengths[:, None]
    if left:
        is_real = is_real[:, ::-1]
    ids = np.full(is_real.shape, pad_id, np.int64)
    ids[is_real] = flat
    return ids, is_real.astype(np.int64)


def narrow(ids: Any) -> np.ndarray:
    """The ids as uint8 if all are below 256, else as int64."""
    ids = np.asarray(ids)
    fits = ids.dtype == np.uint8 or (ids.size > 0 and ids.min() >= 0 and ids.max() <= 255)
    return ids.astype(np.uint8 if fits else np.int64, copy=False)


def raise_mmap_threshold() -> None:
    """Frees one 16 MB block, which makes long texts ten times as fast.

    From then on, glibc reuses freed blocks up to that size instead of unmapping them.
    """
    np.empty(16 << 20, np.uint8)
