"""The settings of a fine-tuning run; each field's docstring is its help on the command line."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kebyt5.errors import InputError
from kebyt5.finetuning.freezing import Freeze

POSITIVE = (
    "epochs",
    "batch_size",
    "device_batch_size",
    "learning_rate",
    "cycles",
    "max_grad_norm",
    "lora",
    "max_input_bytes",
    "max_target_bytes",
    "limit",
    "eval_examples",
    "eval_steps",
)
NOT_NEGATIVE = ("warmup_steps", "cycle_decay", "min_learning_rate", "weight_decay")


@dataclass(kw_only=True)
class FinetuneConfig:
    """Settings of a fine-tuning run. Defaults are those of the published runs."""

    task: str
    """Name of the task; `kebyt5 tasks` lists them."""

    train: Path
    """Training data in the task's official file format."""

    dev: Path
    """Validation data in the same format; the best checkpoint is chosen by its official score."""

    output: Path
    """Folder for the checkpoint and everything about it; new, empty, or with --resume."""

    checkpoint: str = "tiny"
    """Where to start: a folder, a name on the hub, or `tiny`, the model that kebyt5 ships."""

    epochs: float = 4.0
    """Passes over the training data."""

    batch_size: int = 16
    """Examples per optimizer step, over all devices."""

    device_batch_size: int = 16
    """Examples that one device computes at a time, at most; gradients add up to batch_size."""

    learning_rate: float = 6e-5
    """Peak of the first cosine cycle; the published runs used 4e-5 to 8e-5."""

    warmup_steps: int = 0
    """Steps of linear growth to the first peak."""

    cycles: int = 4
    """Cosine cycles over the run."""

    cycle_decay: float = 0.7
    """Peak of a cycle as a share of the one before."""

    min_learning_rate: float = 1e-7
    """Floor of every cycle."""

    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""

    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """AdamW, or Adafactor, which needs far less memory for its state."""

    dropout: float | None = None
    """Dropout in place of the checkpoint's."""

    freeze: Freeze = "gbst"
    """What to keep as it is: nothing, GBST's six tensors, or also the shared byte embedding."""

    lora: int | None = None
    """Rank of LoRA adapters in all attention and feed-forward matrices, which alone are trained."""

    bf16: bool = False
    """Compute in bfloat16; weights stay in float32."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""

    max_input_bytes: int = 1024
    """Longer inputs are cut at a character boundary and counted."""

    max_target_bytes: int = 1024
    """The same for targets."""

    strict: bool = False
    """Refuse texts over the limits instead of cutting them."""

    limit: int | None = None
    """Use only so many training examples, the first ones."""

    eval_examples: int = 200
    """How many validation examples are generated to choose the best checkpoint."""

    eval_steps: int | None = None
    """Steps between evaluations and checkpoints; once an epoch where not given."""

    seed: int = 0
    """Decides everything random: order, dropout, new parameters."""

    resume: bool = False
    """Go on where a killed run with the same settings and output folder left off."""

    def __post_init__(self) -> None:
        for name in POSITIVE + NOT_NEGATIVE:
            value = getattr(self, name)
            if value is None or (math.isfinite(value) and value > 0):
                continue
            if value != 0 or name in POSITIVE:
                least = "more than 0" if name in POSITIVE else "0 or more"
                raise InputError(f"--{name.replace('_', '-')} {value}: has to be {least}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"--dropout {self.dropout}: has to be 0 or more and less than 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed {self.seed}: has to be 0 or more and less than 2 to the 32nd")


__all__ = ["FinetuneConfig"]
