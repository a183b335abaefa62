"""Measures how fast a device multiplies matrices."""

import logging
import time
from functools import cache

import torch

_log = logging.getLogger(__name__)
_LONG = 0.2
"""Seconds after which a product is not repeated."""


@cache
def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measures operations per second of square matrix products, the best of several.

    A size whose product takes long is the last one, since a processor may emulate the type.
    """
    best = 0.0
    for size in (256, 512, 1024) if device.type == "cpu" else (1024, 8192):
        a = torch.ones(size, size, device=device, dtype=dtype)
        _seconds(a)  # to set up the product
        times = [_seconds(a)]
        while times[-1] < _LONG and len(times) < 8:
            times.append(_seconds(a))
        best = max(best, 2 * size**3 / min(times))
        if times[-1] >= _LONG:
            break
    return best


def _seconds(a: torch.Tensor) -> float:
    """How long a product of a matrix with itself takes."""
    began = time.perf_counter()
    (a @ a)[0, 0].item()  # waits for the device
    return time.perf_counter() - began


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
