"""The feed-forward layer at inference: its gate comes with the product in front of it."""

import pytest
import torch
import torch.nn.functional as F

from kebyt5.models.fast_path import fast_path
from kebyt5.models.feed_forward import gate_values, gated_gelu
from kebyt5.models.int8 import Int8Linear
from kebyt5.models.linear import MIN_ONEDNN_ROWS, Linear


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return [Linear(48, 40, bias=False) for _ in range(2)]


@pytest.mark.parametrize("rows", [1, MIN_ONEDNN_ROWS - 1, MIN_ONEDNN_ROWS, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gate_opens_as_written(layers, rows, dtype):
    layers = [layer.to(dtype) for layer in layers]
    x = torch.randn(1, rows, 48, dtype=dtype)
    with torch.no_grad():
        gate, value = (F.linear(x, layer.weight) for layer in layers)
        expected = F.gelu(gate, approximate="tanh") * value
        torch.testing.assert_close(gated_gelu(*layers, x), expected, atol=1e-5, rtol=1e-5)


def test_the_gate_is_that_of_the_hyperbolic_tangent_everywhere():
    gate = torch.linspace(-30, 30, 10_001)
    with torch.no_grad():
        found = gate_values(gate, torch.ones_like(gate))
    expected = F.gelu(gate.double(), approximate="tanh")
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)


def test_layers_are_not_passed_over_where_somebody_waits_for_them(layers, monkeypatch):
    x = torch.randn(MIN_ONEDNN_ROWS, 48)
    seen = []
    handle = layers[0].register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        gated_gelu(*layers, x)
    assert seen == [1]
    handle.remove()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: seen.append(2))
    with torch.no_grad():
        gated_gelu(*layers, x)
    assert seen == [1, 2, 2]
    handle.remove()

    def refuse(*_):
        raise AssertionError("multiplied by oneDNN")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", refuse)
    monkeypatch.setattr(fast_path, "onednn", False)
    with torch.no_grad():
        gated_gelu(*layers, x)


@pytest.mark.parametrize("rows", [5, 100])
def test_eight_bit_layers_open_the_gate_alike(layers, rows):
    rounded = [Int8Linear.of(layer) for layer in layers]
    x = torch.randn(2, rows, 48)
    with torch.no_grad():
        expected = gate_values(*(layer(x) for layer in rounded))
        assert torch.equal(gated_gelu(*rounded, x), expected)
