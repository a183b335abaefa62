"""Products of weights with few rows, at the speed at which memory is read.

A decoder pass multiplies every weight with a handful of rows, one for each byte that it computes.
Up to a dozen rows should cost no more than one, but on a CPU `F.linear` takes twice as long from
two rows on: it rearranges the weight in every call. oneDNN accepts a weight rearranged beforehand.
Measured on two cores with AVX-512, see docs/log.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kebyt5.models.hooks import is_hooked
from kebyt5.models.int8 import Int8Linear, quantize_rows
from kebyt5.models.linear import Linear, product

MAX_SKINNY_ROWS = 64
"""Most rows for which this pays: with more, rearranging costs little compared with the product."""

_COMPUTED_IN = (torch.float32, torch.float16, torch.bfloat16)

_ROWS_PACKED_FOR = 8
"""Rows for which oneDNN chooses the layout of a weight."""


class SkinnyLinear:
    """Applies linear layers to few rows; caches rearranged weights, which doubles their memory.

    Weights must not change meanwhile. Layers that are not plain `nn.Linear`, such as LoRA's, and
    those with hooks are simply called.
    """

    def __init__(self) -> None:
        self._packed: dict[nn.Linear, Tensor] = {}
        self._joined: dict[Int8Linear, Int8Linear] = {}

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """Maps rows (M, K) to (M, N)."""
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dtype in _COMPUTED_IN:
            x = x.to(weight.dtype)  # T5 keeps some layers of a half-precision model in float32
        if not isinstance(module, nn.Linear) or not self._is_skinny(module, x):
            return module(x)
        packed = self._packed.get(module)
        if packed is None:
            packed = torch.ops.mkldnn._reorder_linear_weight(module.weight, _ROWS_PACKED_FOR)
            self._packed[module] = packed
        return product(x, packed, module.bias)

    def each(self, modules: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
        """Applies several layers to the same rows."""
        layers = [m for m in modules if isinstance(m, Int8Linear) and not is_hooked(m)]
        if len(layers) < len(modules):
            return [self(module, x) for module in modules]
        # The products are so short that the overhead of calls matters.
        joined = self._joined.get(layers[0])
        if joined is None:
            joined = self._joined[layers[0]] = Int8Linear.joined(layers)
        product = joined.multiply(quantize_rows(x))
        return list(product.split([len(layer.scale) for layer in layers], dim=1))

    @staticmethod
    def _is_skinny(module: nn.Linear, x: Tensor) -> bool:
        return (
            type(module) in (nn.Linear, Linear)
            and not is_hooked(module)
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and 1 < x.shape[0] <= MAX_SKINNY_ROWS
            and torch.backends.mkldnn.is_available()
        )
