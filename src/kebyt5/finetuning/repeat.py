"""Repeats a fine-tuning run with several seeds or folds, for mean and deviation."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kebyt5.finetuning.config import FREE_ON_RESUME, FinetuneConfig
from kebyt5.finetuning.finetune import finetune, read_data
from kebyt5.finetuning.resume import require_unchanged
from kebyt5.finetuning.trainer import device_count
from kebyt5.output import write_json, write_text
from kebyt5.provenance import provenance
from kebyt5.training.processes import divide_batch, make_run_folder, this_process
from kebyt5.training.settings import is_resumed, require_same_settings, to_yaml


def finetune_repeatedly(config: FinetuneConfig) -> dict[str, Any]:
    """Fine-tunes once for every seed and fold, each in its own folder below `config.output`.

    With `resume`, finished runs are skipped, and the one that was killed continues.

    Returns:
        The content of `metrics.json`: under `summary` the names of the runs and, by task and
        score, `mean` and `std`, the sample standard deviation. Empty in all processes but the
        first.

    Raises:
        InputError: A data file, the output folder or a setting is not acceptable.
        CheckpointError: The checkpoint cannot be loaded.
    """
    if is_resumed(config):
        require_same_settings("finetune", config, FREE_ON_RESUME)
    runs = dict(_runs(config))
    for run in runs.values():
        read_data(run)  # so that faults of the last run show before the first
        if is_resumed(run):
            require_unchanged(run)
    divide_batch(config.batch_size, config.device_batch_size, device_count())
    process = this_process()
    group = None
    if process.num_processes > 1:
        # The first process scores a run alone, longer than the next run's collectives would wait.
        group = torch.distributed.new_group(timeout=timedelta(days=30), backend="gloo")
    if process.is_main_process:
        make_run_folder(config.output, may_continue=config.resume)
        write_text(config.output / "config.yaml", to_yaml("finetune", config))
    for run in runs.values():
        if not (config.resume and (run.output / "metrics.json").exists()):
            finetune(run)
        if group is not None:
            torch.distributed.barrier(group)
    if not process.is_main_process:
        return {}
    scores = [_scores(run.output / "metrics.json") for run in runs.values()]
    metrics = {"summary": {"runs": list(runs), "tasks": summarize(scores)}, "made": provenance()}
    write_json(config.output / "metrics.json", metrics)
    return metrics


def summarize(
    runs: Sequence[dict[str, dict[str, float]]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Computes mean and sample standard deviation of each score.

    Args:
        runs: For each run its scores by task.
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


def _runs(config: FinetuneConfig) -> Iterator[tuple[str, FinetuneConfig]]:
    """Yields name and settings of each run; folds are the same for all seeds."""
    folds: Sequence[int | None] = range(config.folds) if config.folds else [None]
    if config.fold is not None:
        folds = [config.fold]
    for seed in range(config.seed, config.seed + config.seeds):
        for fold in folds:
            parts = []
            if config.seeds > 1:
                parts.append(f"seed-{seed}")
            if fold is not None:
                parts.append(f"fold-{fold}")
            name = "-".join(parts)
            yield name, replace(config, output=config.output / name, seed=seed, seeds=1, fold=fold)


def _scores(path: Path) -> dict[str, dict[str, float]]:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    results = metrics["tasks"].values() if "tasks" in metrics else [metrics]
    return {result["task"]: result["scores"] for result in results}
