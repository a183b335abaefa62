"""Linear layers by oneDNN compute what `nn.Linear` computes."""

import pytest
import torch
from torch import nn

from kebyt5 import GBSWT5ForConditionalGeneration
from kebyt5.models import linear as linear_module
from kebyt5.models.fast_path import fast_path
from kebyt5.models.linear import MIN_ONEDNN_ROWS, Linear
from kebyt5.models.presets import preset_config


@pytest.fixture
def products(monkeypatch):
    """The shapes of the weights that oneDNN was given."""
    shapes = []
    original = linear_module.product

    def spy(x, weight, bias=None):
        shapes.append(tuple(weight.shape))
        return original(x, weight, bias)

    monkeypatch.setattr(linear_module, "product", spy)
    return shapes


def values_and_gradients(layer, x, weights):
    layer.zero_grad()
    x = x.detach().requires_grad_()
    output = layer(x)
    (output * weights).sum().backward()
    return [output.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_plain_layer(bias, products):
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    x, weights = torch.randn(3, 50, 24), torch.randn(3, 50, 40)
    expected = values_and_gradients(layer, x, weights)
    layer.__class__ = Linear
    for ours, theirs in zip(values_and_gradients(layer, x, weights), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    assert products == [(40, 24), (24, 40)]  # forward, and the gradient of the rows
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected[0], rtol=1e-5, atol=1e-5)


def test_frozen_weights_and_inputs_get_no_gradient():
    layer = Linear(24, 40)
    layer.weight.requires_grad_(False)
    x = torch.randn(64, 24)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((40,), 64.0))


@pytest.mark.parametrize("frozen", ["weight", "input", "nothing"])
def test_no_more_is_kept_for_the_gradients_than_they_need(frozen):
    def kept_shapes(layer):
        layer.weight.requires_grad_(frozen != "weight")
        x = torch.randn(64, 24, requires_grad=frozen != "input")
        shapes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: shapes.append(frozenset(t.shape)) or t, lambda t: t
        ):
            layer(x)
        return set(shapes)

    assert kept_shapes(Linear(24, 40, bias=False)) == kept_shapes(nn.Linear(24, 40, bias=False))


@pytest.mark.parametrize(
    "case", ["few rows", "float64", "bfloat16", "autocast", "one vector", "switched off"]
)
def test_everything_else_is_left_to_the_plain_layer(case, products, monkeypatch):
    dtype = {"float64": torch.float64, "bfloat16": torch.bfloat16}.get(case, torch.float32)
    rows = () if case == "one vector" else (MIN_ONEDNN_ROWS - 1 if case == "few rows" else 64,)
    layer = Linear(24, 40).to(dtype)
    x = torch.randn(*rows, 24, dtype=dtype)
    monkeypatch.setattr(fast_path, "onednn", case != "switched off")
    with torch.autocast("cpu", enabled=case == "autocast"):
        output = layer(x)
    assert output.dtype == (torch.bfloat16 if case == "autocast" else dtype)
    assert not products


def test_models_multiply_their_weights_so(products):
    config = preset_config("gbst-kebyt5-tiny", num_layers=1, num_decoder_layers=1)
    model = GBSWT5ForConditionalGeneration(config).train()
    ids = torch.randint(3, 259, (2, 3 * MIN_ONEDNN_ROWS))
    model(input_ids=ids, labels=ids).loss.backward()
    weights = 7 + 11  # of an encoder and a decoder block
    assert len(products) == 2 * weights
