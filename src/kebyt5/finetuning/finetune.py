"""Runs fine-tuning, from settings to a folder with checkpoint, scores, curves and card."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, set_seed

from kebyt5.errors import InputError
from kebyt5.evaluation.evaluate import describe, mean_main_score, write_result
from kebyt5.evaluation.plots import learning_curves
from kebyt5.evaluation.predict import fit_inputs, predict
from kebyt5.finetuning.card import model_card
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.data import TaskData, TaskDataset, hold_out
from kebyt5.finetuning.resume import checkpoint_to_resume, fingerprints, require_unchanged
from kebyt5.finetuning.trainer import (
    FinetuneTrainer,
    device_count,
    predict_options,
    prepare_model,
)
from kebyt5.models.loading import save_checkpoint
from kebyt5.output import save_figure, whole_folder, write_json, write_text
from kebyt5.provenance import provenance
from kebyt5.tasks import Task, get_task
from kebyt5.training.processes import divide_batch, own_folder, this_process
from kebyt5.training.settings import check_warmup, is_resumed, to_settings, to_yaml


def read_data(config: FinetuneConfig) -> list[TaskData]:
    """Reads training and validation examples of every task; with a fold, splits the former.

    Raises:
        InputError: A file is not in its task's format, a task is unknown, there are too few
            examples for the folds, or options of generation are given where nothing is generated.
    """
    tasks = [get_task(name) for name in config.task]
    if all(task.labels for task in tasks):
        predict_options(config).check_effect(tasks[0])
    train = [
        list(task.read(path))[: config.limit]
        for task, path in zip(tasks, config.train, strict=True)
    ]
    if config.folds and config.fold is not None:
        return [
            hold_out(task, examples, config.folds, config.fold)
            for task, examples in zip(tasks, train, strict=True)
        ]
    dev = [list(task.read(path)) for task, path in zip(tasks, config.dev, strict=True)]
    return [TaskData(*part) for part in zip(tasks, train, dev, strict=True)]


def finetune(config: FinetuneConfig) -> dict[str, Any]:
    """Fine-tunes a checkpoint on one task or several and writes everything to `config.output`.

    Returns:
        The content of `metrics.json`; empty in all processes but the first.

    Raises:
        InputError: A data file, the output folder or a setting is not acceptable.
        CheckpointError: The checkpoint cannot be loaded.
    """
    if config.is_repeated:
        raise InputError("several seeds or folds are several runs; call finetune_repeatedly")
    data = read_data(config)
    for task, _, dev in data:
        for example in dev:  # what cannot be predicted in the end is refused now
            fit_inputs(task, example, config.max_input_bytes, config.stride, config.strict)
    divide_batch(config.batch_size, config.device_batch_size, device_count())
    if is_resumed(config):
        require_unchanged(config)
    dataset = _training_data(config, data)
    check_warmup(config, math.ceil(config.epochs * math.ceil(len(dataset) / config.batch_size)))
    set_seed(config.seed)
    model = prepare_model(config)
    with own_folder(config.output, config.resume):
        return _run(config, data, dataset, model)


def _run(
    config: FinetuneConfig, data: Sequence[TaskData], dataset: TaskDataset, model: PreTrainedModel
) -> dict[str, Any]:
    """Trains and scores in an output folder that is this run's own."""
    if this_process().is_main_process:
        write_text(config.output / "config.yaml", to_yaml("finetune", config))
        write_json(config.output / "data.json", fingerprints(config))
    trainer = FinetuneTrainer(config, model, data, dataset)
    began = time.monotonic()
    checkpoint = checkpoint_to_resume(config)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - began
    if not trainer.is_world_process_zero():
        return {}
    return finish(config, trainer, data, _training_facts(trainer, data, dataset, seconds))


def _training_data(config: FinetuneConfig, data: Sequence[TaskData]) -> TaskDataset:
    """The training examples of all tasks, at least one."""
    dataset = TaskDataset(
        [(part.task, part.train) for part in data],
        max_input_bytes=config.max_input_bytes,
        max_target_bytes=config.max_target_bytes,
        stride=config.stride,
        strict=config.strict,
        seed=config.seed,
        temperature=config.temperature,
    )
    if not len(dataset):
        raise InputError(
            f"{config.train[0]}: no window of the limited length shows an answer, so there is"
            " nothing to learn; raise --max-input-bytes"
        )
    return dataset


def _training_facts(
    trainer: FinetuneTrainer, data: Sequence[TaskData], dataset: TaskDataset, seconds: float
) -> dict[str, Any]:
    """What `metrics.json` says about the training itself."""
    parameters = [(p.numel(), p.requires_grad) for p in trainer.model.parameters()]
    return {
        "examples": sum(len(part.train) for part in data),
        "truncated": dataset.truncated,
        "steps": trainer.state.global_step,
        "seconds_since_start_or_resume": round(seconds, 1),
        "best_checkpoint_step": trainer.state.best_global_step,
        "parameters": sum(size for size, _ in parameters),
        "trained_parameters": sum(size for size, is_trained in parameters if is_trained),
    }


def finish(
    config: FinetuneConfig,
    trainer: FinetuneTrainer,
    data: Sequence[TaskData],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Scores the best checkpoint on all validation data and writes checkpoint, scores and card.

    The result of a single task goes to the output folder, those of several to a subfolder each.
    """
    history = trainer.state.log_history
    # Not in bfloat16, as Accelerate has it in training: the scores are those of what is saved.
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    with whole_folder(config.output) as folder:
        results = _score(config, model, data, training, folder)
        metrics = results[0][1] if len(results) == 1 else _together(results, training)
        if len(results) > 1:
            write_json(folder / "metrics.json", metrics)
        save_checkpoint(model, folder)
        write_json(folder / "history.json", history)
        main_scores = {task.name: task.main_score for task, _ in results}
        save_figure(learning_curves(history, main_scores), folder / "training.png")
        write_text(folder / "README.md", model_card(results, to_settings(config), training))
    return metrics


def _score(
    config: FinetuneConfig,
    model: PreTrainedModel,
    data: Sequence[TaskData],
    training: dict[str, Any],
    folder: Path,
) -> list[tuple[Task, dict[str, Any]]]:
    """Scores the model on each task's validation data and writes what it answered."""
    results = []
    files: list[str | None] = [str(path) for path in config.dev] or [None] * len(data)
    for (task, train, dev), file in zip(data, files, strict=True):
        title = f"Predicting validation data ({task.name})"
        predictions = predict(model, task, dev, predict_options(config), title)
        metrics = describe(task, predictions, train) | {"data": file, "training": training}
        results.append((task, metrics))
        place = folder / task.name if len(data) > 1 else folder
        place.mkdir(exist_ok=True)
        write_result(place, task, predictions, metrics)
    return results


def _together(
    results: Sequence[tuple[Task, dict[str, Any]]], training: dict[str, Any]
) -> dict[str, Any]:
    """The `metrics.json` of a run with several tasks."""
    return {
        "tasks": {task.name: metrics for task, metrics in results},
        "main_score": mean_main_score([(task, metrics["scores"]) for task, metrics in results]),
        "training": training,
        "made": provenance(),
    }


__all__ = ["finetune", "read_data"]
