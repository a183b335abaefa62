"""Without compiled kernels, oneDNN multiplies; it has fewer bits on older processors."""

import os
import subprocess
import sys

import pytest

PRODUCTS = """
import torch
from kebyt5.models.fast_path import fast_path
from kebyt5.models.int8 import Int8Linear, quantize_rows

fast_path.kernels = False
torch.manual_seed(0)
layer = Int8Linear.of(torch.nn.Linear(600, 80, bias=False))
rows = quantize_rows(torch.rand(50, 600))
sums = (rows.values.long() - 128) @ layer.weight.long().T
torch.testing.assert_close(layer.multiply(rows), sums * layer.scale * rows.scale)
"""


@pytest.mark.usefixtures("lazy_imports")
@pytest.mark.parametrize("instructions", ["AVX2", pytest.param("DEFAULT", marks=pytest.mark.slow)])
def test_products_are_right_whatever_instructions_onednn_has(instructions):
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    subprocess.run([sys.executable, "-c", PRODUCTS], env=environment, check=True)
