"""T5's gated feed-forward layer: the gate, its product and dropout in one function.

In training, the derivatives are computed together with the gate; at inference, the gate is fused
with the product before it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.activations import NewGELUActivation
from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

from .dropout import dropout_mask, dropped_share
from .fast_path import FULL, HALF, fast_path, is_fused
from .int8 import linear_each
from .linear import is_bare
from .native import gate_rows, use_native

_LINEAR = 2 * (2 / torch.pi) ** 0.5
_CUBIC = 0.044715 * _LINEAR


class GatedFeedForward(T5DenseGatedActDense):
    """T5's gated feed-forward layer with the gate, its product and dropout in one function."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Maps (…, D) to (…, D)."""
        if not isinstance(self.act, NewGELUActivation):
            return super().forward(hidden_states)
        rate = self.dropout.p if self.training else 0.0
        if not rate and not torch.is_grad_enabled() and is_fused(hidden_states):
            return self.wo(gated_gelu(self.wi_0, self.wi_1, hidden_states))
        gate, value = self.wi_0(hidden_states), self.wi_1(hidden_states)
        if not is_fused(gate, value, dtypes=FULL + HALF) or rate == 1:
            hidden = self.dropout(self.act(gate) * value)
        elif rate or torch.is_grad_enabled():
            hidden = GatedGELU.apply(gate, value, rate)
        else:
            hidden = gate_values(gate, value)
        weight = self.wo.weight
        if (
            isinstance(weight, Tensor)
            and weight.dtype not in (hidden.dtype, torch.int8)
            and not torch.is_autocast_enabled(hidden.device.type)  # which would undo it
        ):
            hidden = hidden.to(weight.dtype)  # Transformers keeps wo in float32
        return self.wo(hidden)


class GatedGELU(torch.autograd.Function):
    """dropout(gelu(gate) * value), GELU in its tanh form (`gelu_new`).

    The hyperbolic tangent takes most of the time. The forward pass computes the derivative along
    with it, so that the backward pass is two products and no more is saved than the two inputs
    would take.
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, value: Tensor, rate: float) -> Tensor:
        """Computes the product and both partial derivatives."""
        hidden = F.gelu(gate, approximate="tanh")
        slope = torch.ops.aten.gelu_backward(value, gate, approximate="tanh")
        keep = dropout_mask(gate.shape, rate) if rate else None
        ctx.scale = 1 / (1 - dropped_share(rate))
        ctx.save_for_backward(hidden, slope, keep)
        output = hidden * value
        return output if keep is None else output.mul_(keep).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Differentiates with respect to gate and value."""
        hidden, slope, keep = ctx.saved_tensors
        if keep is not None:
            grad = (grad * keep).mul_(ctx.scale)
        return grad * slope, grad * hidden, None


def gated_gelu(gate: nn.Module, value: nn.Module, x: Tensor) -> Tensor:
    """Computes gelu(gate(x)) * value(x), (…, K) to (…, N), GELU in its tanh form."""
    if not torch.is_grad_enabled() and is_bare(gate, x) and is_bare(value, x):
        multiply = torch.ops.mkldnn._linear_pointwise
        opened = multiply(x, gate.weight, gate.bias, "gelu", [], "tanh")
        return opened.mul_(multiply(x, value.weight, value.bias, "none", [], ""))
    return gate_values(*linear_each((gate, value), x))


def gate_values(gate: Tensor, value: Tensor) -> Tensor:
    r"""Computes gelu(gate) * value, GELU in its tanh form.

    $x (1 + \tanh u) / 2 = x\,\sigma(2u)$, and a sigmoid takes a quarter of the time of a
    hyperbolic tangent.
    """
    if torch.is_grad_enabled() or not fast_path.fused or gate.dtype != torch.float32:
        return F.gelu(gate, approximate="tanh") * value
    if gate.shape == value.shape and use_native(gate, value):
        return gate_rows(gate, value)
    inner = gate.square().mul_(_CUBIC).add_(_LINEAR).mul_(gate)
    return inner.sigmoid_().mul_(gate).mul_(value)
