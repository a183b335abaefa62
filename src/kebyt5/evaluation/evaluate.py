"""Scoring a checkpoint: overall, by length of the input, and under noise."""

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
from kebyt5.models.offsets import byte_length
from kebyt5.output import save_figure, write_json
from kebyt5.provenance import provenance
from kebyt5.tasks import Example, Task

MIN_BIN = 64
"""Upper end, in bytes, of the first bin of input lengths; each further one ends at twice that."""


def describe(
    task: Task, predictions: Predictions, train: Sequence[Example] | None = None
) -> dict[str, Any]:
    """Scores predictions and describes how they were made.

    Args:
        task: The task of the predictions.
        predictions: Predictions for examples with gold.
        train: Training data for the task's trivial baseline; without it no baseline is scored.

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
        "cut": predictions.cut,
        "generation": predictions.generation(),
        "by_length": scores_by_length(task, predictions),
        "made": provenance(),
    }


def scores_by_length(task: Task, predictions: Predictions) -> list[dict[str, Any]]:
    """Scores the examples in bins by the size of their whole input text, shortest first.

    Returns:
        For each non-empty bin `bytes` (lower end inclusive, upper end exclusive), `examples` and
        `scores`.
    """
    lengths = [byte_length(task.input_text(example)) for example in predictions.examples]
    bins: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        bins.setdefault((length // MIN_BIN).bit_length(), []).append(index)
    return [
        {
            "bytes": [MIN_BIN << (number - 1) if number else 0, MIN_BIN << number],
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
        task: The task of the examples.
        predictions: Predictions for the undamaged inputs.
        rates: Rates of noise, see `noise.add_noise`.
        options: Settings of the predictions.
        seed: Seed of the noise.

    Returns:
        `rate` and `scores` for rate 0 and for each of `rates`.
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
    """Writes `metrics.json`, `predictions.jsonl` and, if there is a curve, `robustness.png`."""
    write_predictions(folder / "predictions.jsonl", task, predictions)
    if figure := robustness_curves(metrics, task.main_score):
        save_figure(figure, folder / "robustness.png")
    write_json(folder / "metrics.json", metrics)


def mean_main_score(results: Sequence[tuple[Task, dict[str, float]]]) -> float:
    """Computes the mean of the tasks' main scores, by which checkpoints are compared."""
    return float(np.mean([scores[task.main_score] for task, scores in results]))


def show_score(name: str, value: float) -> str:
    """Formats a score: percent with two decimals; `unparsed`, a number of answers, with none."""
    return f"{value:.0f}" if name == "unparsed" else f"{value:.2f}"
