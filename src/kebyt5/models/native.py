"""Loads and calls the compiled functions of `csrc`; wraps those that work on rows."""

import ctypes
import hashlib
import os
import platform
import sys
import warnings
from ctypes import byref, c_char_p, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fast_path import fast_path, is_traced

_AVX2 = {"avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "f16c"}
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}
_VARIANTS = {
    "amx": {*_AVX512, "amx_tile", "amx_int8"},
    "avx512": _AVX512,
    "avxvnni": {*_AVX2, "avx_vnni"},
    "avx2": _AVX2,
}
"""The instructions that each variant of hatch_build.py needs, the fastest variant first."""


@cache
def library() -> ctypes.CDLL | None:
    """The library for this processor; None if there is none or it has not been compiled."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    for name in runnable_variants():
        # An old compiler does not know all of them, and Linux may refuse AMX to a process.
        opened = open_library(Path(__file__).with_name(f"kernels-{name}.so"))
        if opened is not None and (name != "amx" or opened.allow_tiles()):
            return opened
    return None


def runnable_variants() -> list[str]:
    """The variants whose instructions this processor has, the fastest one first.

    The environment variable KEBYT5_KERNELS, for comparisons, leaves one of them.
    """
    names = [name for name, needed in _VARIANTS.items() if needed <= _processor_flags()]
    wanted = os.environ.get("KEBYT5_KERNELS")
    if not wanted or wanted in names:
        return [wanted] if wanted else names
    warnings.warn(f"KEBYT5_KERNELS={wanted}: this processor runs {', '.join(names)}", stacklevel=2)
    return []


def open_library(path: Path) -> ctypes.CDLL | None:
    """Opens a compiled library; None if it is missing or was not built from the sources beside it.

    An updated checkout still has the old library, whose functions may take other arguments.
    """
    try:
        # It shares PyTorch's threads: both ask for the OpenMP library of the same name.
        opened = ctypes.CDLL(str(path))
        digest = digest_of(path.parent)
    except OSError:  # not compiled, or a library that it was linked with is missing
        return None
    if digest is None or (hasattr(opened, "digest") and digest == _digest(opened)):
        return opened
    warnings.warn(
        f"{path} was compiled from other sources than those beside it, so it is not used;"
        " install kebyt5 again (`pip install -e .` in a checkout)",
        stacklevel=2,
    )
    return None


def digest_of(folder: Path) -> str | None:
    """The digest of the sources in a folder, which libraries contain; None if there are none."""
    sources = sorted(each for each in folder.glob("csrc/*.[ch]") if each.name[0] != ".")
    content = b"".join(source.read_bytes() for source in sources)
    return hashlib.sha256(content).hexdigest() if sources else None


def _digest(opened: ctypes.CDLL) -> str:
    address = ctypes.addressof(ctypes.c_char.in_dll(opened, "digest"))
    return (c_char_p(address).value or b"").decode()


@cache
def _processor_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def is_compiled() -> bool:
    """Whether the compiled functions exist for this processor and are switched on."""
    return fast_path.kernels and library() is not None


def is_readable(tensor: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether there is memory for a compiled function to read: strided, of that type, on a CPU.

    Subclasses of tensors, such as FakeTensor, may have none of their own.
    """
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.is_cpu
        and tensor.dtype == dtype
        and tensor.layout == torch.strided
    )


def use_native(*tensors: Tensor) -> bool:
    """Whether the functions below take these tensors: float32 on a CPU, with gradients disabled."""
    return (
        not is_traced()  # first, as compilers cannot trace all that follows
        and not torch.is_grad_enabled()
        and all(map(is_readable, tensors))
        and is_compiled()
    )


_PANEL = 64
"""Outputs of a weight per panel; `PANEL` in csrc/panels.h."""


class PanelsStructure(ctypes.Structure):
    """The struct `Panels` of csrc/panels.h."""

    _fields_ = [
        ("panels", c_void_p),
        ("scales", c_void_p),
        ("starts", c_void_p),
        ("outs", c_int64),
        ("width", c_int64),
    ]


class Panels:
    """A copy of a weight in the panel layout in which `csrc` multiplies it with many rows.

    Args:
        weight: (N, K), float32; or int8 in ±127, with K a multiple of four.
        scale: (N,), float32: size of one step of each output channel, for an int8 weight.
    """

    def __init__(self, weight: Tensor, scale: Tensor | None = None) -> None:
        outs, width = weight.shape
        missing, together = -outs % _PANEL, 1 if scale is None else 4
        padded = F.pad(weight, (0, 0, 0, missing)).view(-1, _PANEL, width // together, together)
        self._alive = [padded.transpose(1, 2).contiguous()]
        if scale is not None:
            # Makes up for the zero point of the rows, 128.
            starts = weight.sum(dim=1, dtype=torch.int32) * -128
            self._alive += [F.pad(scale, (0, missing)), F.pad(starts, (0, missing))]
        addresses = [each.data_ptr() for each in self._alive]
        self.structure = PanelsStructure(*addresses, *[None] * (3 - len(addresses)), outs, width)

    @staticmethod
    def fit(weight: Tensor) -> bool:
        """Whether there are compiled functions for a weight (N, K)."""
        is_whole = weight.dtype == torch.float32 or weight.shape[1] % 4 == 0
        return is_whole and library() is not None

    def multiply(self, values: Tensor, scales: Tensor) -> Tensor:
        """Maps quantized rows (M, K) and their scales (M, 1) to (M, N), float32."""
        out = scales.new_empty(len(values), self.structure.outs)
        call("multiply_rounded", self.structure, values, scales, len(values), out)
        return out


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantizes rows (M, K) to uint8 in 128 ± 127; returns them and their scales (M, 1)."""
    x = x.contiguous()
    values, scales = x.new_empty(x.shape, dtype=torch.uint8), x.new_empty(len(x), 1)
    call("round_rows", x, *x.shape, values, scales)
    return values, scales


def gate_rows(gate: Tensor, value: Tensor) -> Tensor:
    """Computes gelu(gate) * value for (…, N), GELU in its tanh form."""
    gate, value = gate.contiguous(), value.contiguous()
    out = torch.empty_like(gate)
    width = gate.shape[-1]
    call("gate_rows", gate, value, gate.numel() // width, width, out)
    return out


def scale_rows(x: Tensor, scales: Tensor) -> Tensor:
    """Multiplies contiguous rows (M, N) by their scales (M, 1), in place."""
    call("scale_rows", x, scales, *x.shape)
    return x


def call(function: str, *arguments: Tensor | np.ndarray | ctypes.Structure | int) -> int:
    """Calls a compiled function; tensors, arrays and structures are passed by address.

    PyTorch's number of threads is appended as the last argument.
    """
    given = [_as_argument(each) for each in arguments]
    return int(getattr(library(), function)(*given, c_int64(torch.get_num_threads())))


def _as_argument(value: Tensor | np.ndarray | ctypes.Structure | int) -> Any:
    if isinstance(value, Tensor):
        return c_void_p(value.data_ptr())
    if isinstance(value, np.ndarray):
        return c_void_p(value.__array_interface__["data"][0])  # `.ctypes` takes longer
    return byref(value) if isinstance(value, ctypes.Structure) else c_int64(value)
