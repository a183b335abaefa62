"""Leaves autocast where a function chooses its dtypes itself."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Disables autocast on the tensor's device, so that operations keep their operands' dtype."""
    if not torch.amp.is_autocast_available(tensor.device.type):  # as on meta tensors
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)
