"""Scoring a checkpoint: as a whole, by length of the input, and under noise."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from kebyt5.evaluation.noise import add_noise
from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.plots import robustness_curves
from kebyt5.evaluation.predict import Predictions, predict
from kebyt5.evaluation.predictions import write_predictions
from kebyt5.output import save_figure, write_json
from kebyt5.provenance import provenance
from kebyt5.tasks import Example, Task
from kebyt5.tasks.fitting import size

SHORTEST_BIN = 64
"""Bytes of the shortest bin of input lengths; each further one is twice as long."""


def describe(
    task: Task, predictions: Predictions, train: Sequence[Example] | None = None
) -> dict[str, Any]:
    """Scores predictions.

    Args:
        task: What they belong to.
        predictions: For examples with gold.
        train: Training data from which the task's trivial baseline is learnt, if there is any.

    Returns:
        The content of `metrics.json`.
    """
    examples = predictions.examples
    baseline = task.baseline(train, examples) if train else None
    return {
        "task": task.name,
        "scores": predictions.score(task),
        "baseline": task.score(examples, baseline) if baseline else None,
        "examples": len(examples),
        "truncated": predictions.truncated,
        "generation": predictions.generation(),
        "by_length": scores_by_length(task, predictions),
        "made": provenance(),
    }


def scores_by_length(task: Task, predictions: Predictions) -> list[dict[str, Any]]:
    """The scores of the examples whose whole input text has so many bytes, shortest first.

    Returns:
        For each bin that is not empty `bytes`, from and below, `examples` and `scores`.
    """
    lengths = [size(task.input_text(example)) for example in predictions.examples]
    bins: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        bins.setdefault((length // SHORTEST_BIN).bit_length(), []).append(index)
    return [
        {
            "bytes": [(SHORTEST_BIN << number) // 2 * bool(number), SHORTEST_BIN << number],
            "examples": len(bins[number]),
            "scores": predictions.select(bins[number]).score(task),
        }
        for number in sorted(bins)
    ]


def scores_under_noise(
    model: PreTrainedModel,
    task: Task,
    predictions: Predictions,
    rates: Sequence[float],
    options: PredictOptions | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Predicts again from damaged inputs and scores against the undamaged examples.

    Args:
        model: The model.
        task: What the examples belong to.
        predictions: What the model said to the undamaged inputs.
        rates: Share of the characters that are hit, see `noise.add_noise`.
        options: How answers are made.
        seed: Decides every hit.

    Returns:
        For rate 0 and each of the rates `rate` and `scores`.
    """
    examples = predictions.examples
    rows = [{"rate": 0.0, "scores": predictions.score(task)}]
    for rate in rates:
        noise = partial(add_noise, rate=rate, seed=seed)
        noisy = [task.damage(example, noise) for example in examples]
        found = predict(model, task, noisy, options, f"Predicting at noise rate {rate}")
        rows.append({"rate": rate, "scores": replace(found, examples=examples).score(task)})
    return rows


def write_result(
    folder: Path, task: Task, predictions: Predictions, metrics: dict[str, Any]
) -> None:
    """Writes `metrics.json`, `predictions.jsonl` and, where there is a curve, its plot."""
    write_predictions(folder / "predictions.jsonl", task, predictions)
    if figure := robustness_curves(metrics, task.main_score):
        save_figure(figure, folder / "robustness.png")
    write_json(folder / "metrics.json", metrics)


def mean_main_score(results: Sequence[tuple[Task, dict[str, float]]]) -> float:
    """The mean over tasks of the score that counts, by which checkpoints are compared."""
    return float(np.mean([scores[task.main_score] for task, scores in results]))


__all__ = [
    "describe",
    "mean_main_score",
    "scores_by_length",
    "scores_under_noise",
    "write_result",
]
