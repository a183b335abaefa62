"""The parameters that all alternatives of a benchmark share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import T5Config
from transformers import initialization as init

from kebyt5.bench.widening import widened
from kebyt5.errors import InputError
from kebyt5.models.configuration_gbswt5 import GBSWT5Config
from kebyt5.models.loading import load_float
from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration
from kebyt5.models.presets import PRESETS, preset_config

SIZES = tuple(name.removeprefix("kebyt5-") for name in PRESETS if name.startswith("kebyt5-"))
"""Sizes that can be compared; each is a plain shape, with or without GBST in front."""

_GBST = "encoder.embed_tokens."
_EMBEDDING = "shared.weight"
_TIED = (f"{_GBST}embeds.weight", "decoder.embed_tokens.weight")
"""Further names of the embedding."""

_SEED = 0


@dataclass(frozen=True)
class Weights:
    """The parameters of one size, named as in a GBST checkpoint and shared by all alternatives.

    Attributes:
        size: One of `SIZES`.
        tensors: Parameters by name; the plain model uses those outside GBST.
    """

    size: str
    tensors: dict[str, nn.Parameter]

    @classmethod
    def draw(cls, size: str) -> "Weights":
        """Draws random weights at T5's own scale.

        At other scales attention may be so peaked that denormal numbers make matrix products six
        times slower. Norms differ slightly from one, since CTranslate2 merges equal tensors.
        """
        torch.manual_seed(_SEED)
        model = GBSWT5ForConditionalGeneration(gbst_config(size))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "layer_norm" in name:
                    parameter.normal_(mean=1.0, std=0.02)
        return cls(size, model.state_dict(keep_vars=True))

    @classmethod
    def copying(cls, size: str, checkpoint: str = "tiny") -> "Weights":
        """Widens a small trained model, which copies, to a size.

        Args:
            size: One of `SIZES`.
            checkpoint: A GBST model of the shape that the package ships, fine-tuned or not.

        Raises:
            CheckpointError: The checkpoint cannot be loaded.
            InputError: The checkpoint has another shape.
        """
        config = gbst_config(size)
        small = load_float(checkpoint)
        with init.no_init_weights():
            model = GBSWT5ForConditionalGeneration(config)
        names = model.state_dict(keep_vars=True)
        try:
            values = widened(small, config)
        except ValueError as error:
            raise InputError(
                f"{checkpoint}: cannot be widened to {size}: {error}; give a GBST model fine-tuned"
                " from tiny"
            ) from error
        parameters = {name: nn.Parameter(value) for name, value in values.items()}
        return cls(size, {name: parameters[_EMBEDDING if name in _TIED else name]
                          for name in names})  # fmt: skip

    @classmethod
    def unset(cls, size: str) -> "Weights":
        """Makes uninitialized parameters, for uses that need only their shapes."""
        with init.no_init_weights():
            model = GBSWT5ForConditionalGeneration(gbst_config(size))
        return cls(size, model.state_dict(keep_vars=True))

    @property
    def plain(self) -> dict[str, nn.Parameter]:
        """The parameters of the plain model."""
        tensors = {k: v for k, v in self.tensors.items() if not k.startswith(_GBST)}
        return tensors | {f"{_GBST}weight": self.tensors[_EMBEDDING]}

    @property
    def gbst(self) -> dict[str, nn.Parameter]:
        """The parameters of the GBST layer, in its own names."""
        tensors = self.tensors.items()
        return {k.removeprefix(_GBST): v for k, v in tensors if k.startswith(_GBST)}

    def save(self, path: Path) -> None:
        """Writes the parameters to a file for `read`."""
        from safetensors.torch import save_file

        save_file({k: v.detach() for k, v in self.tensors.items() if k not in _TIED}, path)

    def save_checkpoint(self, folder: Path) -> None:
        """Writes the parameters as a GBST checkpoint in float32."""
        with init.no_init_weights():
            model = GBSWT5ForConditionalGeneration(gbst_config(self.size))
        model.load_state_dict(self.tensors)
        model.save_pretrained(folder)

    @classmethod
    def read(cls, size: str, path: Path) -> "Weights":
        """Reads a file that `save` wrote, into its own memory."""
        from safetensors.torch import load_file

        tensors = {name: nn.Parameter(tensor.clone()) for name, tensor in load_file(path).items()}
        return cls(size, tensors | dict.fromkeys(_TIED, tensors[_EMBEDDING]))


def plain_config(size: str, **changes: Any) -> T5Config:
    """Makes the plain configuration of a size."""
    return preset_config(f"kebyt5-{size}", **changes)


def gbst_config(size: str, **changes: Any) -> GBSWT5Config:
    """Makes the configuration of a size with the GBST layer of the published base model."""
    shape = PRESETS[f"kebyt5-{size}"] | {"z_loss": 0.0}
    return preset_config("gbst-kebyt5-base", **(shape | changes))
