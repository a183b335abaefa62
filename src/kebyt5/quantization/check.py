"""Quantizes a model to int8 and compares its scores before and after."""

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
"""Most examples used to even out channels."""

_TARGET_BYTES = 1024
_BATCH = 8


@dataclass(frozen=True)
class Check:
    """The scores of a model before and after quantization.

    Attributes:
        task: Name of the task.
        main_score: Name of the task's main score.
        examples: Number of examples scored.
        max_drop: Points by which the main score may drop.
        calibrated_on: Number of examples used to even out channels.
        generation: How the answers of the int8 model were generated; None if they were chosen by
            likelihood.
        before: Scores before, in percent.
        after: Scores after, in percent.
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
    """Quantizes the weights of a model to int8, in place, and compares a task's scores.

    Channels are evened out first by their size in the first 64 examples, see
    `kebyt5.quantization.smoothing`.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model in float32, on a CPU. It is left quantized, in
            evaluation mode and no longer trainable, even if the score drops too much.
        task: The task that the model is fine-tuned on.
        examples: Examples with gold answers.
        max_drop: Points by which the task's main score may drop.
        options: How answers are generated.
        progress: Whether to show progress bars.

    Raises:
        InputError: The main score drops by more than `max_drop`, or is NaN; likelihoods are not
            numbers; or this torch has no oneDNN.
        ValueError: The model is not on a CPU.
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
    if not drop <= max_drop:  # also if a score is NaN
        raise InputError(
            f"{model.name_or_path}: {check}, more than {max_drop} points lost; nothing is written."
            " Use the checkpoint as it is, or allow more with --max-drop"
        )
    return check


__all__ = ["CALIBRATION", "Check", "quantize_checked"]
