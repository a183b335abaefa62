"""Norm and dropout of a T5 block in few passes over memory.

Each class subclasses the module that it replaces and computes the same function of the same
parameters by a `torch.autograd.Function` that saves only what the gradient needs. Where such a
function does not fit (under a compiler that fuses by itself, and mostly in half precision) the
module of Transformers runs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.models.t5.modeling_t5 import T5LayerNorm


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
"""Dtypes that the functions of this module support."""

HALF = (torch.bfloat16,)
"""Dtype of autocast on the CPU; PyTorch's operations in it round only their results."""

LEVELS = 2**16
"""Dropout rates are multiples of 1 / LEVELS, so that one random word decides four elements."""


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Disables autocast on the tensor's device, so that operations keep their operands' dtype."""
    if not torch.amp.is_autocast_available(tensor.device.type):  # as on meta tensors
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def dropped_share(rate: float) -> float:
    """A dropout rate rounded to a multiple of 1 / LEVELS."""
    return round(rate * LEVELS) / LEVELS


def dropout_mask(
    shape: torch.Size, rate: float, generator: torch.Generator | None = None
) -> Tensor:
    """Draws which elements a dropout keeps, on the CPU.

    PyTorch's Bernoulli sampling takes six nanoseconds per element, more than everything else in a
    dropout; a quarter of a random word takes less than one.

    Returns:
        A boolean tensor, true with probability 1 - `dropped_share(rate)`.
    """
    words = torch.empty(-(-shape.numel() // 4), dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    levels = words.view(torch.int16)[: shape.numel()].view(shape)
    return levels >= round(rate * LEVELS) - LEVELS // 2


class Dropout(nn.Dropout):
    """`nn.Dropout` with cheap random bits; saves one byte per element for the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Drops elements and scales the others."""
        if not self.training or self.p == 0:
            return x
        if not is_fused(x) or self.inplace or not 0 < self.p < 1:
            return super().forward(x)
        return DropoutFunction.apply(x, self.p)


class DropoutFunction(torch.autograd.Function):
    """Zeroes random elements and scales the others to keep the expectation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        """Draws and applies the mask."""
        keep = dropout_mask(x.shape, rate)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - dropped_share(rate))
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Applies the same mask."""
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None


class RMSNorm(T5LayerNorm):
    """T5's norm in three passes over memory, and its gradient in five."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Scales every vector of (…, D) to a mean square of 1, then by the weight."""
        if not is_fused(hidden_states, self.weight):
            return super().forward(hidden_states)
        return RMSNormFunction.apply(hidden_states, self.weight, self.variance_epsilon)


class RMSNormFunction(torch.autograd.Function):
    r"""$y = w x / \sqrt{\overline{x^2} + \epsilon}$ over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Normalizes; saves x and one number per vector."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Differentiates with respect to x and the weight."""
        x, weight, inverse = ctx.saved_tensors
        grad_x = grad_weight = None
        with without_autocast(x):
            product = (grad * x).flatten(0, -2)
            if ctx.needs_input_grad[1]:
                grad_weight = inverse.view(-1) @ product
            if ctx.needs_input_grad[0]:
                projected = (product @ weight).view_as(inverse)  # <grad * weight, x>
                projected.mul_(inverse.pow(3)).div_(-x.shape[-1])  # what the norm removes
                grad_x = (grad * weight).mul_(inverse).addcmul_(x, projected)
        return grad_x, grad_weight, None


def is_fused(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = FULL) -> bool:
    """Whether the fused functions should compute on these tensors, which must share one dtype."""
    first = tensors[0]
    return (
        fast_path.fused
        and first.device.type == "cpu"
        and first.dtype in dtypes
        and all(tensor.dtype == first.dtype for tensor in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def is_hooked(module: nn.Module) -> bool:
    """Whether the module has a forward hook or a replaced `forward`, so it has to be called."""
    everywhere = torch.nn.modules.module
    return bool(
        changes_output(module)
        or module._forward_pre_hooks
        or everywhere._global_forward_hooks
        or everywhere._global_forward_pre_hooks
    )


def changes_output(module: nn.Module) -> bool:
    """Whether the module itself has a hook after its `forward`, or a replaced `forward`."""
    hooks = module._forward_hooks
    return bool(hooks and any(map(_is_awake, hooks.values()))) or _has_other_forward(module)


def _has_other_forward(module: nn.Module) -> bool:
    """Whether an instance has a `forward` that is not the one of its class."""
    own = vars(module).get("forward")
    return own is not None and getattr(own, "__func__", own) is not type(module).forward


def _is_awake(hook: Callable[..., Any]) -> bool:
    """Whether a hook may do anything now.

    The hooks with which Transformers collects hidden states and attentions stay on a model after
    the first call that returns any, and are idle in later calls that return none. The private
    variable `_active_collector` that they check tells; hooks without it count as awake.
    """
    collector = getattr(hook, "__globals__", {}).get("_active_collector")
    return collector is None or bool(collector.get())
