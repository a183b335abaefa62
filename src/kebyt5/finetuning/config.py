"""The settings of a fine-tuning run; each field's docstring is its help on the command line."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter

from kebyt5.errors import InputError
from kebyt5.evaluation.options import check_stride
from kebyt5.training.settings import check_ranges, check_schedule, read_settings

Freeze = Literal["none", "gbst", "gbst+embedding"]

POSITIVE = (
    "epochs",
    "batch_size",
    "device_batch_size",
    "learning_rate",
    "cycles",
    "max_grad_norm",
    "lora",
    "max_input_bytes",
    "max_new_bytes",
    "max_target_bytes",
    "temperature",
    "seeds",
    "limit",
    "eval_examples",
    "eval_steps",
)
NOT_NEGATIVE = ("warmup_steps", "cycle_decay", "min_learning_rate", "weight_decay")

FREE_ON_RESUME = ("output",)
"""Settings that do not affect the result."""

RANDOM = "random:"
"""Prefix of a shape's name that starts from random weights."""

Item = TypeVar("Item")
Listed = Annotated[list[Item], Parameter(negative="")]


@dataclass(kw_only=True)
class FinetuneConfig:
    """Settings of a fine-tuning run. Defaults are those of the published runs.

    Raises:
        InputError: A setting is out of range, or two contradict each other.
    """

    task: Listed[str]
    """Name of the task; `kebyt5 tasks` lists them. To train one checkpoint on several tasks, repeat
    --task, --train and --dev for each."""

    train: Listed[Path]
    """Training data in the task's official file format."""

    dev: Listed[Path] = field(default_factory=list)
    """Validation data in the same format; the best checkpoint is chosen by its official score."""

    output: Path
    """Folder for the checkpoint and everything about it; new, empty, or with --resume."""

    checkpoint: str = "tiny"
    """Where to start: a folder, a name on the hub, `tiny`, the model that kebyt5 ships, or
    `random:SHAPE` for a shape (such as gbst-kebyt5-tiny) with random weights drawn from the
    seed."""

    epochs: float = 4.0
    """Passes over the training data."""

    batch_size: int = 16
    """Examples per optimizer step, over all devices."""

    device_batch_size: int = 16
    """Maximum number of examples per device in one forward pass; gradients are accumulated over a
    batch."""

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
    """What not to train: nothing, GBST's six tensors, or also the shared byte embedding."""

    fresh_decoder: bool = False
    """Start with new random weights in the decoder, so that only the encoder is pretrained. Better
    for labels after short pretraining, but not for answers that repeat the text."""

    lora: int | None = None
    """Rank of LoRA adapters in all attention and feed-forward matrices; nothing else is trained."""

    bf16: bool = False
    """Compute in bfloat16; weights stay in float32."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""

    max_input_bytes: int | None = None
    """Longer inputs are shortened and counted: contexts of questions in overlapping windows,
    dialogues by their oldest turns, pairs in their longest field, others at their end. The task's
    own limit if not given."""

    stride: int | None = None
    """Bytes from the beginning of a window to that of the next; half a window if not given."""

    max_new_bytes: int | None = None
    """Largest answer to a validation example, as for `kebyt5 predict`."""

    max_target_bytes: int = 4096
    """Longer targets are cut at a character and counted."""

    strict: bool = False
    """Refuse texts over the limits instead of cutting them."""

    limit: int | None = None
    """Use only the first N training examples of each task."""

    temperature: float = 1.0
    """Temperature of the mixture of several tasks: each is drawn in proportion to its size to the
    power of 1 / temperature, so 1 keeps the sizes and a high temperature makes tasks equal."""

    eval_examples: int = 200
    """How many validation examples are answered to choose the best checkpoint."""

    eval_steps: int | None = None
    """Steps between evaluations and checkpoints; once per epoch if not given."""

    constrain: bool = False
    """In validation, generate only valid answers of the task, which is faster. Otherwise anything
    may be generated, as in the published runs, and invalid answers are counted."""

    seed: int = 0
    """Decides everything random: order, dropout, new parameters."""

    seeds: int = 1
    """Number of runs, with consecutive seeds from --seed, for mean and deviation."""

    folds: int | None = None
    """Number of folds of a cross-validation: each part of the training data is held out once, in
    place of --dev. Questions about one text, and turns of one dialogue, stay together."""

    fold: int | None = None
    """Run only this fold, counted from 0."""

    resume: bool = False
    """Continue a killed run with the same settings and output folder."""

    def __post_init__(self) -> None:
        if not len(self.task) == len(self.train) > 0:
            raise InputError(f"{len(self.task)} --task, {len(self.train)} --train; give pairs")
        if len(set(self.task)) < len(self.task):
            raise InputError("--task: the same task is given twice; put its data into one file")
        if self.fold is not None and self.folds is None:
            raise InputError(f"--fold {self.fold}: of how many? give --folds as well")
        if len(self.dev) != (0 if self.folds else len(self.task)):
            wanted = "none with --folds" if self.folds else "one for each --task, or --folds"
            raise InputError(f"{len(self.dev)} --dev; give {wanted}")
        if self.folds is not None and self.folds < 2:
            raise InputError(f"--folds {self.folds}: has to be 2 or more")
        if self.fold is not None and self.fold not in range(self.folds or 0):
            raise InputError(f"--fold {self.fold}: has to be one of --folds, counted from 0")
        if self.temperature != 1 and len(self.task) == 1:
            raise InputError(
                f"--temperature {self.temperature:g}: mixes several tasks, but there is one"
            )
        check_stride(self.stride)
        if self.fresh_decoder and self.lora is not None:
            raise InputError(
                "--fresh-decoder with --lora: its weights would stay random; leave one out"
            )
        if self.lora is not None and self.freeze != "gbst":
            raise InputError(
                f"--lora with --freeze {self.freeze}: only the adapter is trained in any case;"
                " leave --freeze out"
            )
        if self.checkpoint.startswith(RANDOM) and self.lora is not None:
            raise InputError(
                f"--checkpoint {self.checkpoint} with --lora: its random weights would not be saved"
                " with the adapter; leave --lora out"
            )
        check_ranges(self, POSITIVE, NOT_NEGATIVE)
        check_schedule(self)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"--dropout {self.dropout}: has to be 0 or more and less than 1")

    @property
    def is_repeated(self) -> bool:
        """Whether the settings ask for several runs, with other seeds or folds."""
        return self.seeds > 1 or (self.folds is not None and self.fold is None)


def finetuned_tasks(checkpoint: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the tasks of the run that made a checkpoint, as the `config.yaml` in it says.

    Args:
        checkpoint: A folder or a name. Only folders that `kebyt5 finetune` wrote say their tasks.
    """
    try:
        named = read_settings(Path(checkpoint) / "config.yaml", "finetune").get("task")
    except InputError:
        return ()
    if isinstance(named, str):
        return (named,)
    return tuple(map(str, named)) if isinstance(named, list) else ()


__all__ = ["FREE_ON_RESUME", "RANDOM", "FinetuneConfig", "finetuned_tasks"]
