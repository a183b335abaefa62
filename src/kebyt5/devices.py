"""Choosing the device that computes."""

import torch
from transformers import PreTrainedModel

from kebyt5.errors import InputError


def require_device(name: str) -> torch.device:
    """Finds a device by its name.

    Args:
        name: `cpu`, or an accelerator of this machine, such as `cuda` or `cuda:1`.

    Raises:
        InputError: This machine, or this build of PyTorch, has no such device.
    """
    here = ["cpu"]
    if torch.accelerator.is_available():
        kind = str(torch.accelerator.current_accelerator())
        here += [kind, *(f"{kind}:{number}" for number in range(torch.accelerator.device_count()))]
    if name not in here:
        raise InputError(f"--device {name}: not here; PyTorch finds {', '.join(here)}")
    return torch.device(name)


def move(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """Moves a model to a device.

    Raises:
        InputError: The model's weights are int8, which only CPUs multiply.
    """
    if device.type != "cpu" and getattr(model.config, "int8", False):
        raise InputError(
            f"--device {device}: the weights of {model.name_or_path} are int8, which is for CPUs;"
            " give the checkpoint that it was made of, named in its quantization.json"
        )
    return model.to(device)
