"""Linear layers that oneDNN multiplies.

PyTorch leaves float32 products on the CPU to MKL. On few rows oneDNN is faster: at the shapes of a
byte model by up to 30 % on an AMD EPYC (docs/log.md). The gradient of the weights, whose inner
dimension is the rows, gains little and stays with MKL.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .autocast import without_autocast
from .fast_path import fast_path, is_traced
from .hooks import is_hooked

MIN_ONEDNN_ROWS = 32
"""With fewer rows, reading the weights dominates and MKL reads them faster."""


class Linear(nn.Linear):
    """`nn.Linear` that uses oneDNN where that is faster; adds no state."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps (…, in) to (…, out)."""
        if not self.is_onednn(input):
            return super().forward(input)
        if torch.is_grad_enabled():
            return LinearFunction.apply(input, self.weight, self.bias)
        return product(input, self.weight, self.bias)

    def is_onednn(self, x: Tensor) -> bool:
        """Whether oneDNN should multiply these rows."""
        return (
            # First, as compilers cannot trace all that follows.
            not is_traced()
            and fast_path.onednn
            and x.device.type == self.weight.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            # Quantizers and sharding put other tensors in a weight's place.
            and type(self.weight) in (Tensor, nn.Parameter)
            and (self.bias is None or self.bias.dtype == torch.float32)
            and x.layout == self.weight.layout == torch.strided
            and not x.is_nested
            and x.dim() > 1
            and x.shape[:-1].numel() >= MIN_ONEDNN_ROWS
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()
            and bool(torch.backends.mkldnn.enabled)
        )


class LinearFunction(torch.autograd.Function):
    """Computes x Wᵀ + b, differentiable in x, W and b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiplies; saves only what the required gradients need."""
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        ctx.save_for_backward(x if needs_weight else None, weight if needs_x else None)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Differentiates with respect to x, weight and bias."""
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        with without_autocast(grad):
            if ctx.needs_input_grad[0]:
                grad_x = product(grad, weight.t())
            rows = grad.flatten(0, -2)
            if ctx.needs_input_grad[1]:
                grad_weight = rows.t() @ x.flatten(0, -2)
            if ctx.needs_input_grad[2]:
                grad_bias = rows.sum(dim=0)
        return grad_x, grad_weight, grad_bias


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes x Wᵀ + b by oneDNN: x (…, in), weight (out, in) in either layout, bias (out)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def is_bare(layer: nn.Module, x: Tensor) -> TypeGuard[Linear]:
    """Whether oneDNN should multiply and nothing wraps or hooks the layer.

    Its product may then be fused with what follows it.
    """
    return type(layer) is Linear and layer.is_onednn(x) and not is_hooked(layer)
