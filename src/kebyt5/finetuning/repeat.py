"""Repeating a fine-tuning run with other seeds or on other folds, for mean and deviation."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from kebyt5.finetuning.config import FinetuneConfig, to_yaml
from kebyt5.finetuning.data import TaskData
from kebyt5.finetuning.finetune import check_resume, finetune, read_data
from kebyt5.output import make_output_folder, provenance, write_json, write_text


def finetune_repeatedly(config: FinetuneConfig) -> dict[str, Any]:
    """Runs once for every seed and fold, each in a folder of its own below `config.output`.

    With `resume`, finished runs are not run again, and the one that was killed goes on.

    Returns:
        The content of `metrics.json`: under `summary` the names of the runs and, by task and
        score, `mean` and `std`, the standard deviation of a sample.

    Raises:
        InputError: As `finetune`.
    """
    data = read_data(config)
    check_resume(config)
    if PartialState().is_main_process:
        make_output_folder(config.output, may_continue=config.resume)
        write_text(config.output / "config.yaml", to_yaml(config))
    runs: list[str] = []
    scores: list[dict[str, dict[str, float]]] = []
    for name, seed, parts in _runs(config, data):
        folder = config.output / name
        finished = folder / "metrics.json"
        if not (config.resume and finished.exists()):
            finetune(replace(config, output=folder, seed=seed, seeds=1), parts)
        if PartialState().is_main_process:
            runs.append(name)
            scores.append(_scores(finished))
    metrics = {"summary": {"runs": runs, "tasks": summarize(scores)}, "made": provenance()}
    if PartialState().is_main_process:
        write_json(config.output / "metrics.json", metrics)
    return metrics


def summarize(
    runs: Sequence[dict[str, dict[str, float]]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and standard deviation of each score.

    Args:
        runs: For each run the scores by task.
    """
    return {
        task: {
            name: {
                "mean": float(np.mean([run[task][name] for run in runs])),
                "std": float(np.std([run[task][name] for run in runs], ddof=len(runs) > 1)),
            }
            for name in scores
        }
        for task, scores in (runs[0] if runs else {}).items()
    }


def folds(data: Sequence[TaskData], count: int, seed: int) -> Iterator[list[TaskData]]:
    """Holds out each of `count` parts of the training data once; their sizes differ by one at most.

    Args:
        data: Tasks with their training examples.
        count: How many parts; each example is in one.
        seed: Decides which.
    """
    orders = [np.random.default_rng(seed).permutation(len(part.train)) % count for part in data]
    for fold in range(count):
        yield [
            TaskData(
                task,
                [example for example, at in zip(train, order, strict=True) if at != fold],
                [example for example, at in zip(train, order, strict=True) if at == fold],
            )
            for (task, train, _), order in zip(data, orders, strict=True)
        ]


def _runs(
    config: FinetuneConfig, data: Sequence[TaskData]
) -> Iterator[tuple[str, int, Sequence[TaskData]]]:
    """Yields name, seed and data of each run; the folds are the same for all seeds."""
    for seed in range(config.seed, config.seed + config.seeds):
        if config.folds is None:
            yield f"seed-{seed}", seed, data
            continue
        for fold, parts in enumerate(folds(data, config.folds, config.seed)):
            yield f"seed-{seed}-fold-{fold}" if config.seeds > 1 else f"fold-{fold}", seed, parts


def _scores(path: Path) -> dict[str, dict[str, float]]:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    results = metrics["tasks"].values() if "tasks" in metrics else [metrics]
    return {result["task"]: result["scores"] for result in results}


__all__ = ["finetune_repeatedly", "folds", "summarize"]
