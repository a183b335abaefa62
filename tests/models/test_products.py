"""Products at inference are those of the layers, which still run where somebody waits for them."""

import pytest
import torch
import torch.nn.functional as F

from kebyt5.models import products
from kebyt5.models.feed_forward import gate_values, gated_gelu
from kebyt5.models.int8 import Int8Linear
from kebyt5.models.products import FEWEST_ROWS, linear, linear_each


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return [torch.nn.Linear(48, 40, bias=False) for _ in range(2)]


@pytest.mark.parametrize("rows", [1, FEWEST_ROWS - 1, FEWEST_ROWS, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_values_are_those_of_the_layers(layers, rows, dtype):
    layers = [layer.to(dtype) for layer in layers]
    x = torch.randn(1, rows, 48, dtype=dtype)
    with torch.no_grad():
        gate, value = (layer(x) for layer in layers)
        torch.testing.assert_close(linear(layers[0], x), gate, atol=1e-5, rtol=1e-5)
        for found, expected in zip(linear_each(layers, x), (gate, value), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        expected = F.gelu(gate, approximate="tanh") * value
        torch.testing.assert_close(gated_gelu(*layers, x), expected, atol=1e-5, rtol=1e-5)


def test_the_gate_is_that_of_the_hyperbolic_tangent_everywhere():
    gate = torch.linspace(-30, 30, 10_001)
    with torch.no_grad():
        found = gate_values(gate, torch.ones_like(gate))
    expected = F.gelu(gate.double(), approximate="tanh")
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)


def test_gradients_flow_and_hooks_are_called(layers, monkeypatch):
    def refuse(*_):
        raise AssertionError("passed over the layer")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", refuse)
    x = torch.randn(FEWEST_ROWS, 48)
    linear(layers[0], x).sum().backward()
    assert layers[0].weight.grad is not None
    seen = []
    layers[1].register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        linear(layers[1], x)
        linear_each([layers[1], layers[1]], x)
        gated_gelu(layers[1], layers[1], x)
        assert len(seen) == 5
        monkeypatch.setattr(products.fast_path, "fused", False)
        linear(layers[0], x)


def test_eight_bit_layers_round_the_same_rows_once(layers, monkeypatch):
    rounded = [Int8Linear.of(layer) for layer in layers]
    x = torch.randn(2, 5, 48)
    expected = [layer(x) for layer in rounded]
    calls = []
    monkeypatch.setattr(products, "quantize_rows",
                        lambda rows, real=products.quantize_rows: calls.append(1) or real(rows)
                        )  # fmt: skip
    for found, each in zip(linear_each(rounded, x), expected, strict=True):
        assert torch.equal(found, each)
    assert calls == [1]
