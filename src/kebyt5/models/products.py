"""Products of linear layers at inference, with what follows them in the same pass over memory.

Where a gradient is wanted, or something wraps or hooks a layer, the layer itself runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .fused import fast_path, is_hooked
from .int8 import Int8Linear, quantize_rows

FEWEST_ROWS = 64
"""Below it a product is bound by reading its weight, and oneDNN has to rearrange that first."""


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """Maps (…, K) to (…, N)."""
    if not can_fuse(x, layer):
        return layer(x)
    assert isinstance(layer, nn.Linear)
    # oneDNN, some 10 % faster here than the library behind `F.linear`; see docs/log.md.
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")


def linear_each(layers: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """Applies several layers to the same (…, K), which is rounded only once for eight bits."""
    rounding = [each for each in layers if isinstance(each, Int8Linear) and not is_hooked(each)]
    if len(rounding) < len(layers):
        return [linear(layer, x) for layer in layers]
    rows = quantize_rows(x.flatten(0, -2))
    return [layer.multiply(rows).view(*x.shape[:-1], -1) for layer in rounding]


def can_fuse(x: Tensor, *layers: nn.Module) -> bool:
    """Whether oneDNN may multiply plain float32 layers by these rows."""
    return (
        fast_path.fused
        and not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() >= FEWEST_ROWS * x.shape[-1]
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and all(
            type(layer) is nn.Linear
            and layer.weight.dtype == torch.float32
            and layer.weight.is_contiguous()
            and not is_hooked(layer)
            for layer in layers
        )
    )


__all__ = ["can_fuse", "linear", "linear_each"]
