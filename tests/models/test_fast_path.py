"""Fused functions are those of Transformers, and may be switched off."""

import pytest
import torch
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5DenseGatedActDense, T5LayerNorm

from kebyt5.models.dropout import Dropout, DropoutFunction
from kebyt5.models.fast_path import fast_path
from kebyt5.models.feed_forward import GatedFeedForward, GatedGELU
from kebyt5.models.norm import RMSNorm, RMSNormFunction


def config(**changes):
    return T5Config(d_model=12, d_ff=20, feed_forward_proj="gated-gelu", **changes)


PAIRS = [
    (lambda: T5LayerNorm(12), RMSNorm),
    (lambda: T5DenseGatedActDense(config(dropout_rate=0.0)), GatedFeedForward),
]


def outputs_and_gradients(module, x, weights):
    module.zero_grad()
    x = x.detach().requires_grad_()
    output = module(x)
    (output * weights).sum().backward()
    return [output.detach(), x.grad, *(p.grad.clone() for p in module.parameters())]


@pytest.mark.parametrize(("make", "fast"), PAIRS, ids=["norm", "feed-forward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_those_of_transformers(make, fast, dtype):
    torch.manual_seed(0)
    module = make().to(dtype)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    x, weights = torch.randn(2, 3, 7, 12, dtype=dtype)
    expected = outputs_and_gradients(module, x, weights)
    module.__class__ = fast
    # In float64, too, Transformers' norm takes the mean square in float32.
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-6, torch.bfloat16: 0.05}[dtype]
    for ours, theirs in zip(outputs_and_gradients(module, x, weights), expected, strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_autocast_computes_the_gate_in_half_precision_and_once():
    torch.manual_seed(0)
    module = T5DenseGatedActDense(config(dropout_rate=0.0))
    module.__class__ = GatedFeedForward
    x, weights = torch.randn(2, 3, 7, 12)
    expected = outputs_and_gradients(module, x, weights)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs_and_gradients(module, x, weights)
        seen = []
        module.wo.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
        module(x)
        with torch.no_grad():
            module(x)
    assert seen == [torch.bfloat16] * 2
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 0.02 * theirs.norm()


def test_functions_are_differentiated_exactly():
    x, y = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: RMSNormFunction.apply(*a, 1e-6), (x, weight))
    assert torch.autograd.gradcheck(lambda *a: GatedGELU.apply(*a, 0.0), (x, y))

    def dropped(gate, value):
        torch.manual_seed(3)
        return GatedGELU.apply(gate, value, 0.5)

    assert torch.autograd.gradcheck(dropped, (x, y))


def test_the_switch_gives_the_modules_of_transformers(monkeypatch):
    def refuse(*_):
        raise AssertionError("fused although switched off")

    for function in (RMSNormFunction, GatedGELU, DropoutFunction):
        monkeypatch.setattr(function, "apply", refuse)
    monkeypatch.setattr(fast_path, "fused", False)
    x = torch.randn(2, 12)
    layer = T5DenseGatedActDense(config()).train()
    layer.__class__ = GatedFeedForward
    layer(x)
    RMSNorm(12)(x)
    Dropout(0.5).train()(x)
