"""All kernels multiply the same numbers."""

import pytest
import torch

from kebyt5.bench.kernels import KERNELS, bench_kernels, shapes
from kebyt5.bench.weights import gbst_config
from kebyt5.models.products import decoder_products


@pytest.mark.parametrize("rows", [1, 5, 70])
def test_kernels_agree(rows):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(96, 40, bias=False), torch.randn(rows, 96)
    with torch.inference_mode():
        for name, make in KERNELS.items():
            found = make(layer, rows)(x)
            assert found.shape == (rows, 40)
            if name != "int8":  # which has rows of its own
                tolerance = 0.02 if "int8" in name else 1e-5
                assert (found - layer(x)).norm() < tolerance * layer(x).norm()


def test_layers_are_those_of_a_pass():
    products = decoder_products(gbst_config("base"), 1, 1, 1)
    linear = [p for p in products if not p.name.endswith(("scores", "mixing", "head"))]
    assert sum(n * k for n, k in shapes("base")) == sum(p.count * p.gemm.n * p.gemm.k
                                                        for p in linear)  # fmt: skip
    assert len(shapes("base")) == sum(p.count for p in linear)


def test_every_kernel_is_timed():
    assert bench_kernels("tiny", 2, rounds=1).keys() == KERNELS.keys()
