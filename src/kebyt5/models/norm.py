"""T5's norm in few passes over memory."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers.models.t5.modeling_t5 import T5LayerNorm

from .autocast import without_autocast
from .fast_path import is_fused


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
