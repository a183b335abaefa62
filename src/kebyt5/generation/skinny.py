"""Products of a weight with few rows, in the form that the processor does fastest."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(module: nn.Module, x: Tensor) -> Tensor:
    """Applies a linear layer to rows (M, K).

    A plain `nn.Linear` takes the form that is fastest for M rows; any other module, as of LoRA or
    quantization, does what it does.
    """
    if type(module) is not nn.Linear:
        return module(x)
    weight = module.weight
    x = x.to(weight.dtype)  # T5 keeps some layers in float32 among others in half precision
    if module.bias is None and _is_skinny(x):
        return torch.mm(weight, x.t()).t()
    return F.linear(x, weight, module.bias)


def _is_skinny(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and 2 <= x.shape[0] <= 32


__all__ = ["linear"]
