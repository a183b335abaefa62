"""The compiled functions of `csrc`, and those of them that work on rows of any number."""

import ctypes
import platform
import sys
from ctypes import c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from .fused import fast_path


@cache
def library() -> ctypes.CDLL | None:
    """The variant for this processor; None where there is none, or none has been compiled."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    flags = _processor_flags()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= flags:
        name = "kernels-avx512.so"
    elif {"avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "f16c"} <= flags:
        name = "kernels-avx2.so"
    else:
        return None
    path = Path(__file__).with_name(name)
    try:
        # It shares PyTorch's threads: both ask for the OpenMP library of the same name.
        return ctypes.CDLL(str(path))
    except OSError:  # not compiled, or without what it was linked with
        return None


def _processor_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def use_native(*tensors: Tensor) -> bool:
    """Whether the functions below can compute on these: float32 on a CPU, no gradient to come."""
    return (
        fast_path.kernels
        and not torch.is_grad_enabled()
        and all(
            # Not what has no memory of its own, such as a FakeTensor.
            type(t) is Tensor and t.dtype == torch.float32 and t.device.type == "cpu"
            for t in tensors
        )
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and library() is not None
    )


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds rows (M, K) to 127 steps up and down of 128; returns them and the steps (M, 1)."""
    x = x.contiguous()
    values, scales = torch.empty(x.shape, dtype=torch.uint8), torch.empty(len(x), 1)
    _call("round_rows", x, *x.shape, values, scales)
    return values, scales


def gate_rows(gate: Tensor, value: Tensor) -> Tensor:
    """gelu(gate) * value of (…, N), GELU in its tanh form."""
    gate, value = gate.contiguous(), value.contiguous()
    out = torch.empty_like(gate)
    width = gate.shape[-1]
    _call("gate_rows", gate, value, gate.numel() // width, width, out)
    return out


def scale_rows(x: Tensor, scales: Tensor) -> Tensor:
    """Multiplies rows (M, N), which are contiguous, with (M, 1), in place."""
    _call("scale_rows", x, scales, *x.shape)
    return x


def _call(function: str, *arguments: Tensor | int) -> None:
    """Calls it with addresses and numbers, and the threads of PyTorch."""
    given = [
        c_void_p(each.data_ptr()) if isinstance(each, Tensor) else c_int64(each)
        for each in arguments
    ]
    getattr(library(), function)(*given, c_int64(torch.get_num_threads()))


__all__ = ["gate_rows", "library", "round_rows", "scale_rows", "use_native"]
