"""Measures how fast a device multiplies matrices."""

import logging
import time
from functools import cache

import torch

_log = logging.getLogger(__name__)


@cache
def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measures operations per second of a large square matrix product, the best of several."""
    size = 1024 if device.type == "cpu" else 8192
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def warn_of_slow_bfloat16(device: torch.device) -> None:
    """Warns if products measure slower in bfloat16 than in float32.

    Processors without instructions for bfloat16 (such as x86-64 without AMX or AVX-512 BF16)
    emulate it at a fraction of their speed.
    """
    share = measured_peak(device, torch.bfloat16) / measured_peak(device, torch.float32)
    if share < 1:
        _log.warning(
            "this device multiplies in bfloat16 at %.0f%% of its speed in float32;"
            " a run without --bf16 is faster here",
            100 * share,
        )
