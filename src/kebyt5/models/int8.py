"""Linear layers with int8 weights: a quarter of the memory to read, and integer products.

Each output channel of a weight has its own scale, and so has each row of the input, which is
quantized on the fly. Sums of integer products are exact, so the result for a row does not depend
on the other rows. A generated text may nevertheless: the norms and attention between the products
are sums of floats whose last digit depends on the shape of the pass, and for a value halfway
between two steps that digit decides about 1/127 of the row's largest.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5Stack

from .hooks import is_hooked
from .native import Panels, round_rows, scale_rows, use_native

_ZERO_POINT = 128
"""Zero of the unsigned rows; processors multiply unsigned by signed bytes."""


class Rows(NamedTuple):
    """Quantized rows."""

    values: Tensor  # (M, K), uint8
    scale: Tensor  # (M, 1), float32


def quantize_rows(x: Tensor) -> Rows:
    """Quantizes rows (M, K), each to 127 steps up and down."""
    x = x.float()
    if use_native(x):
        return Rows(*round_rows(x))
    largest = x.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
    steps = (x * (127 / largest)).round_().to(torch.int8)  # nine times as fast as to uint8
    return Rows(steps.view(torch.uint8).add_(_ZERO_POINT), largest / 127)


class Int8Linear(nn.Module):
    """A linear layer with an int8 weight and no bias, on a CPU.

    Args:
        weight: (N, K), int8 in ±127.
        scale: (N,), float32: size of one step of each output channel.
    """

    weight: Tensor
    scale: Tensor
    _panels: Panels | None = None
    _packed: tuple[Tensor, Tensor] | None = None  # with the zero points of the weight

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def _apply(self, fn: Any, recurse: bool = True) -> "Int8Linear":
        """Moves the layer; its scales stay float32, which the products need, whatever `fn` does."""
        scale = self.scale
        super()._apply(fn, recurse)
        if self.scale.dtype != scale.dtype:
            self.scale = scale.to(self.scale.device)
        self._panels = self._packed = None  # they depend on where the weight is
        return self

    @classmethod
    def of(cls, linear: nn.Linear) -> "Int8Linear":
        """Quantizes a float layer, rounding to the nearest steps."""
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp_(min=1e-12).div_(127)
        return cls((weight / scale[:, None]).round_().to(torch.int8), scale)

    @classmethod
    def like(cls, linear: nn.Linear) -> "Int8Linear":
        """An uninitialized int8 layer of the same shape."""
        weight = torch.empty_like(linear.weight, dtype=torch.int8, requires_grad=False)
        scale = torch.empty(linear.out_features, dtype=torch.float32, device=weight.device)
        return cls(weight, scale)

    @classmethod
    def joined(cls, layers: Sequence["Int8Linear"]) -> "Int8Linear":
        """Concatenates the outputs of several layers into one, packed for `multiply`.

        Its plain weight is dropped (meta), so it cannot be saved or moved.
        """
        layer = cls(
            torch.cat([each.weight for each in layers]), torch.cat([e.scale for e in layers])
        )
        layer.multiply(quantize_rows(torch.zeros(1, layer.weight.shape[1])))
        layer.weight = layer.weight.to("meta")
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., K) to (..., N) of the same type; the product is computed in float32."""
        product = self.multiply(quantize_rows(x.flatten(0, -2)))
        return product.view(*x.shape[:-1], -1).to(x.dtype)

    def multiply(self, rows: Rows) -> Tensor:
        """Maps rows (M, K) to (M, N), float32."""
        if self._uses_panels(rows):
            return self.panels().multiply(*rows)
        product = self._product(rows.values)
        if use_native(product):
            return scale_rows(product, rows.scale)
        return product.mul_(rows.scale)

    def _product(self, values: Tensor) -> Tensor:
        """Multiplies by oneDNN, in units of the rows' steps."""
        if not _saturates():
            return self._onednn(values, _ZERO_POINT)
        # Products of seven bits fit: values are twice their half, and a rest.
        half = self._onednn(values >> 1, _ZERO_POINT // 2)
        return half.mul_(2).add_(self._onednn(values & 1, 0))

    def _onednn(self, values: Tensor, zero_point: int) -> Tensor:
        if self._packed is None:
            zero_points = torch.zeros(len(self.scale), dtype=torch.long)
            self._packed = torch.ops.onednn.qlinear_prepack(self.weight, None), zero_points
        weight, zero_points = self._packed
        return torch.ops.onednn.qlinear_pointwise(
            values,
            1.0,  # the rows' scales come afterwards
            zero_point,
            weight,
            self.scale,
            zero_points,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )

    def _uses_panels(self, rows: Rows) -> bool:
        if self.weight.is_meta:  # of `joined`, which has packed it already
            return self._panels is not None
        return use_native(rows.scale) and Panels.fit(self.weight)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the packed weights, which are bound to this process; a copy makes its own."""
        made = ("_panels", "_packed")
        return {name: value for name, value in self.__dict__.items() if name not in made}

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._panels = self._packed = None

    def panels(self) -> Panels:
        """The weight in the layout of the compiled functions, made on first use."""
        if self._panels is None:
            self._panels = Panels(self.weight, self.scale)
        return self._panels


@cache
def _saturates() -> bool:
    """Whether oneDNN adds products in 16 bits, too few for these, as it does without VNNI."""
    size, most = 64, 127
    largest = Int8Linear(torch.full((size, size), most, dtype=torch.int8), torch.ones(size))
    values = torch.full((size, size), _ZERO_POINT + most, dtype=torch.uint8)
    return bool((largest._onednn(values, _ZERO_POINT) != size * most * most).any())


def linear_each(layers: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """Applies several layers to the same (…, K), quantizing it only once for int8 layers."""
    rounding = [each for each in layers if isinstance(each, Int8Linear) and not is_hooked(each)]
    if len(rounding) < len(layers):
        return [layer(x) for layer in layers]
    rows = quantize_rows(x.flatten(0, -2))
    return [layer.multiply(rows).view(*x.shape[:-1], -1) for layer in rounding]


def replace_linears(stack: T5Stack, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Replaces the linear layers of a stack's blocks in place; none of them has a bias.

    Embeddings, GBST, norms and relative biases stay as they are.
    """
    for name, module in list(stack.block.named_modules()):
        if isinstance(module, nn.Linear):
            stack.block.set_submodule(name, make(module))
