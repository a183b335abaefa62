"""The fast path: its switches, and where it is left to Transformers' modules.

Modules of the fast path subclass those that they replace, and compute the same functions of the
same parameters. Fused functions save only what the gradient needs; they do not fit under a compiler
that fuses by itself, and mostly not in half precision.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_tracing


@dataclass
class FastPath:
    """Process-wide switches, all on by default; none changes a result beyond rounding.

    Attributes:
        fused: Norm, gated GELU and dropout are one function each.
        packed: Encoder and decoder skip padding, and attention recomputes its scores in the
            backward pass (with `attn_implementation="blockwise"`, the default).
        folded: GBST reads tables in place of embedding and convolution, and of the projection
            where no gradient reaches them; the consensus of long texts is a polynomial.
        onednn: oneDNN computes the products of linear layers in float32.
        kernels: Compiled functions (`csrc`) run decoder passes and, at inference, GBST and encoder
            blocks; they also make examples for pretraining.
    """

    fused: bool = True
    packed: bool = True
    folded: bool = True
    onednn: bool = True
    kernels: bool = True


fast_path = FastPath()

FULL = (torch.float32, torch.float64)
"""Dtypes that fused functions support."""

HALF = (torch.bfloat16,)
"""Dtype of autocast on the CPU; PyTorch's operations in it round only their results."""


def is_traced() -> bool:
    """Whether a compiler or an exporter records what runs, which has to be plain operations."""
    return is_compiling() or is_tracing()


def is_fused(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = FULL) -> bool:
    """Whether fused functions should compute on these tensors, which must share one dtype."""
    first = tensors[0]
    return (
        fast_path.fused
        and first.device.type == "cpu"
        and first.dtype in dtypes
        and all(tensor.dtype == first.dtype for tensor in tensors)
        and not is_traced()
    )
