"""Weights of eight bits, with a look at what they cost in score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import predict
from kebyt5.finetuning.data import TaskDataset, collate
from kebyt5.quantization.quantize import quantize
from kebyt5.quantization.smoothing import smooth
from kebyt5.tasks import Example, Task

CALIBRATION = 64
"""Examples that tell how to even out channels, at most."""

_TARGET_BYTES = 1024
_BATCH = 8


@dataclass(frozen=True)
class Check:
    """The scores of a model before and after its weights were rounded.

    Attributes:
        task: Name of the task.
        main_score: Name of the score that counts.
        examples: How many were compared.
        max_drop: By how many points the main score might drop.
        calibrated_on: How many of the examples told how to even out channels.
        generation: How the answers after it were generated; None where likelihoods decided.
        before: Scores in percent.
        after: Likewise.
    """

    task: str
    main_score: str
    examples: int
    max_drop: float
    calibrated_on: int
    generation: dict[str, Any] | None
    before: dict[str, float]
    after: dict[str, float]

    def __str__(self) -> str:
        before, after = (scores[self.main_score] for scores in (self.before, self.after))
        return f"{self.main_score} {before:.2f} before, {after:.2f} after"


def quantize_checked(
    model: PreTrainedModel,
    task: Task,
    examples: Sequence[Example],
    max_drop: float = 0.3,
    options: PredictOptions | None = None,
    progress: bool = False,
) -> Check:
    """Rounds the weights of a model to eight bits, in place, and compares a task's scores.

    Channels are evened out first by what they are in the first 64 examples, see
    `kebyt5.quantization.smoothing`.

    Args:
        model: KEByT5, GBST-KEByT5 or ByT5 in float32, on a CPU. It is in evaluation mode then and
            can no longer be trained, also where it is refused.
        task: What it is fine-tuned on.
        examples: With gold.
        max_drop: By how many points the task's main score may drop.
        options: How answers are made.
        progress: Whether to show progress bars.

    Raises:
        InputError: The main score drops by more than that, or is no number.
        ValueError: The model is not on a CPU, or this torch has no oneDNN.
    """
    options = options or PredictOptions()
    model.eval()
    before = predict(model, task, examples, options, "Before" if progress else "").score(task)
    calibration = examples[:CALIBRATION]
    shown = TaskDataset(
        [(task, calibration)], options.max_input_bytes, _TARGET_BYTES, options.stride,
        training=False,
    )  # fmt: skip
    smooth(model, DataLoader(shown, _BATCH, collate_fn=collate))
    quantize(model)
    after = predict(model, task, examples, options, "After" if progress else "")
    check = Check(
        task.name,
        task.main_score,
        len(examples),
        max_drop,
        len(calibration),
        after.generation(),
        before,
        after.score(task),
    )
    drop = check.before[task.main_score] - check.after[task.main_score]
    if not drop <= max_drop:  # as where a score is NaN
        raise InputError(
            f"{model.name_or_path}: {check}, more than {max_drop} points lost; nothing is written."
            " Use the checkpoint as it is, or allow more with --max-drop"
        )
    return check


__all__ = ["CALIBRATION", "Check", "quantize_checked"]
