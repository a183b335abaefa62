"""The settings of a pretraining run; each field's docstring is its help on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kebyt5.errors import InputError, option
from kebyt5.training.settings import check_ranges, check_schedule, check_warmup

POSITIVE = (
    "steps",
    "batch_size",
    "device_batch_size",
    "mean_span",
    "learning_rate",
    "cycles",
    "max_grad_norm",
    "eval_steps",
    "eval_examples",
    "save_steps",
    "keep_checkpoints",
    "peak_tflops",
    "minutes",
)
NOT_NEGATIVE = (
    "warmup_steps",
    "early_steps",
    "cycle_decay",
    "min_learning_rate",
    "weight_decay",
    "z_loss",
    "workers",
)

FREE_ON_RESUME = ("output", "corpus", "keep_checkpoints", "workers", "peak_tflops", "minutes")
"""Settings that do not affect the result; the corpus is checked by its fingerprint."""


@dataclass(kw_only=True)
class PretrainConfig:
    """Settings of a pretraining run.

    Raises:
        InputError: A setting is out of range, or two contradict each other.
    """

    corpus: Path
    """Folder with the shards of `kebyt5 corpus build`: `train`, and `validation` where given."""

    output: Path
    """Folder for the checkpoint and everything about it; new, empty, or with --resume."""

    model: str = "gbst-kebyt5-base"
    """Where to start: a shape with random weights (such as gbst-kebyt5-base, kebyt5-tiny), a
    checkpoint folder, or a name on the hub (such as google/byt5-base)."""

    gbst: bool = False
    """Put GBST in front of a plain checkpoint; it starts as mean pooling (warm start)."""

    blocks: list[int] | None = None
    """Sizes of GBST's candidate blocks in bytes, where GBST is new; else the shape's."""

    downsample: int | None = None
    """Bytes per encoder position, where GBST is new; else the shape's."""

    steps: int = 100_000
    """Optimizer steps of the whole run."""

    batch_size: int = 128
    """Examples per step, over all devices."""

    device_batch_size: int = 16
    """Maximum number of examples per device in one forward pass; gradients are accumulated over a
    batch."""

    input_length: int = 1024
    """Ids of a corrupted input, including the end of sequence; 1024 take 1,193 bytes of text. It is
    the average with --whole-characters and the maximum with --salient."""

    density: float = 0.15
    """Share of the bytes that are masked."""

    mean_span: float = 20.0
    """Mean length of a masked span in bytes; raised if there would be more than 11 spans."""

    whole_characters: bool = False
    """Let spans begin and end between characters; in ByT5 they may cut characters."""

    salient: bool = False
    """Mask dates, times, quantities and numbers if a text has any (second stage)."""

    names: str | None = None
    """Checkpoint fine-tuned on `--task ner`; the names it finds are masked too; needs --salient."""

    copy: float = 0.0
    """Share of the examples that are short texts to copy. Tasks whose output repeats the input need
    copying, and small models hardly learn it from masked spans alone."""

    early_copy: float | None = None
    """Share of copies at the first step, from which it falls evenly to --copy; small models then
    learn to copy sooner."""

    lookup: float = 0.0
    """Share of the non-copy examples that insert sentinels into words and ask for those words.
    Small models hardly learn from masked spans alone to look at what surrounds a blank."""

    early_lookup: float | None = None
    """Share of lookups at the first step; it falls on the schedule of --early-copy."""

    early_steps: int = 0
    """Steps over which the early shares fall."""

    short: float = 0.0
    """Share of the examples whose text ends early, at any length. Without them all inputs have the
    same number of masked spans, and a small model does badly on inputs that have fewer."""

    weights: dict[str, float] = field(default_factory=dict)
    """How often each source is drawn, relative to its size; 0 for never. Sources not named have the
    weights of the corpus's recipe."""

    learning_rate: float = 1e-3
    """Peak of the schedule."""

    schedule: Literal["constant", "inverse-sqrt", "cosine"] = "cosine"
    """What follows the warm-up: a constant rate, inverse square root decay, or cosine cycles."""

    warmup_steps: int = 1000
    """Steps of linear growth to the peak."""

    cycles: int = 1
    """Cosine cycles over the run."""

    cycle_decay: float = 0.7
    """Peak of a cosine cycle as a share of the one before."""

    min_learning_rate: float = 0.0
    """Floor of the cosine cycles."""

    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """AdamW, or Adafactor, which needs far less memory for its state."""

    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""

    z_loss: float = 1e-4
    """Weight of the mean squared log partition function in the loss."""

    bf16: bool = False
    """Compute in bfloat16; weights stay in float32."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""

    eval_steps: int = 1000
    """Steps between measurements of bits per byte on the validation shards."""

    eval_examples: int = 100
    """Most examples of each source for these measurements."""

    save_steps: int = 1000
    """Steps between checkpoints; one is also written at the end, on SIGTERM and on Ctrl-C."""

    keep_checkpoints: int = 2
    """How many of the last checkpoints are kept."""

    minutes: float | None = None
    """Stop after this many minutes with a checkpoint, as on SIGTERM; --resume continues."""

    workers: int = 0
    """Processes that prepare batches ahead."""

    peak_tflops: float | None = None
    """Peak of one device in TFLOP/s, for MFU; measured by a matrix product if not given."""

    seed: int = 0
    """Decides everything random: weights, order, spans."""

    resume: bool = False
    """Continue a stopped or killed run with the same settings and output folder."""

    def __post_init__(self) -> None:
        check_ranges(self, POSITIVE, NOT_NEGATIVE)
        if not 0 < self.density < 1:
            raise InputError(f"--density {self.density}: has to be more than 0 and less than 1")
        if not 0 <= self.short <= 1:
            raise InputError(f"--short {self.short}: has to be from 0 to 1")
        for name in ("copy", "early_copy", "lookup", "early_lookup"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{option(name)} {value}: has to be 0 or more and less than 1")
        if (self.early_copy is None and self.early_lookup is None) != (self.early_steps == 0):
            raise InputError(
                "--early-steps: only with --early-copy or --early-lookup, and 1 step or more then"
            )
        if self.mean_span < 1:
            raise InputError(f"--mean-span {self.mean_span}: has to be 1 or more")
        check_schedule(self)
        check_warmup(self, self.steps)
        if self.names and not self.salient:
            raise InputError("--names: only with --salient")


__all__ = ["FREE_ON_RESUME", "PretrainConfig"]
