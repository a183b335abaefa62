"""Products of a weight with few rows, at the speed at which memory is read.

A decoder pass multiplies every weight with a handful of rows, one for each byte that it looks at.
Up to a dozen rows that should cost no more than a single one, but on a CPU `F.linear` takes twice
as long from two rows on: it rearranges the weight for each call. oneDNN takes one that has been
rearranged beforehand. Measured on two cores with AVX-512, see docs/log.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kebyt5.models.int8 import Int8Linear, quantize_rows
from kebyt5.models.linear import Linear

MAX_SKINNY_ROWS = 64
"""Beyond it, rearranging a weight costs little beside the product."""

_ROWS_PACKED_FOR = 8


class SkinnyLinear:
    """Applies linear layers to few rows; keeps the rearranged weights, which double their memory.

    Weights must not change meanwhile. A layer that is no plain `nn.Linear`, as with LoRA, does what
    it does.
    """

    def __init__(self) -> None:
        self._packed: dict[nn.Linear, Tensor] = {}
        self._joined: dict[Int8Linear, Int8Linear] = {}

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        """Maps rows (M, K) to (M, N)."""
        if not isinstance(module, nn.Linear) or type(module) not in (nn.Linear, Linear):
            return module(x)
        x = x.to(module.weight.dtype)  # T5 keeps some layers in float32 among halves
        if not self._is_skinny(module, x):
            return module(x)
        packed = self._packed.get(module)
        if packed is None:
            packed = torch.ops.mkldnn._reorder_linear_weight(module.weight, _ROWS_PACKED_FOR)
            self._packed[module] = packed
        return torch.ops.mkldnn._linear_pointwise(x, packed, module.bias, "none", [], "")

    def each(self, modules: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
        """Applies several layers to the same rows."""
        layers = [module for module in modules if isinstance(module, Int8Linear)]
        if len(layers) < len(modules):
            return [self(module, x) for module in modules]
        # The product itself takes so little that calls count.
        joined = self._joined.get(layers[0])
        if joined is None:
            joined = self._joined[layers[0]] = Int8Linear.joined(layers)
        product = joined.multiply(quantize_rows(x))
        return list(product.split([len(layer.scale) for layer in layers], dim=1))

    @staticmethod
    def _is_skinny(module: nn.Linear, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and 1 < x.shape[0] <= MAX_SKINNY_ROWS
            and torch.backends.mkldnn.is_available()
        )


__all__ = ["SkinnyLinear"]
