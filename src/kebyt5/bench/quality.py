"""Compares initial checkpoints by fine-tuning; each run is done once and has a result file."""

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt

from kebyt5.errors import InputError
from kebyt5.finetuning.config import RANDOM, FinetuneConfig
from kebyt5.finetuning.finetune import finetune, read_data
from kebyt5.models.loading import load, local_folder
from kebyt5.output import make_output_folder, write_json
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.pretrain import pretrain
from kebyt5.process import prepare_process
from kebyt5.settings import STRICT, validated
from kebyt5.tasks import get_task
from kebyt5.training.settings import read_settings, to_settings
from kebyt5.workers import end_with_parent
from kebyt5.yaml_files import load_yaml

_log = logging.getLogger(__name__)

_FORMAT = (
    "expected `finetune:`, `tasks:` and `tables:`, as in scripts/quality.yaml of the repository"
)


@dataclass(frozen=True)
class Table:
    """One table of the page.

    Attributes:
        title: Title of the table.
        tasks: Tasks, which are its columns.
        seeds: Number of seeds with which each run is repeated.
        rows: Settings by the name of the row, which override those of the task; with `pretrain` in
            them, the row's start is pretrained first.
        note: Explanation above the table.
    """

    __pydantic_config__ = STRICT

    title: str
    tasks: list[str]
    rows: dict[str, dict[str, Any]]
    seeds: PositiveInt = 3
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """All runs of a page.

    Attributes:
        tables: Tables of the page.
        finetune: Settings of all runs.
        tasks: Settings by task, which override those of all runs; `train` and `dev` are files.
        pretrain: Settings of all pretraining runs.
        seeds_of: Number of seeds by task, where it differs from the table's.
        note: Text above the tables.
    """

    __pydantic_config__ = STRICT

    tables: list[Table]
    finetune: dict[str, Any]
    tasks: dict[str, dict[str, Any]]
    pretrain: dict[str, Any] = field(default_factory=dict)
    seeds_of: dict[str, PositiveInt] = field(default_factory=dict)
    note: str = ""

    def seeds(self, table: Table, task: str) -> range:
        """Returns the seeds of a cell of a table."""
        return range(self.seeds_of.get(task, table.seeds))


@dataclass(frozen=True)
class Cell:
    """The place of a run in the tables."""

    table: str
    row: str
    task: str
    seed: int


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe, in which `${NAME}` is replaced by the environment variable NAME.

    Raises:
        InputError: The file cannot be read, lacks a part, or names an unknown task or variable.
    """
    content = load_yaml(path, "a recipe", variables=True)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a recipe of quality tables; {_FORMAT}")
    recipe: Recipe = validated(Recipe, content, str(path))
    unknown = [task for table in recipe.tables for task in table.tasks if task not in recipe.tasks]
    if unknown:
        raise InputError(f"{path}: no settings of {unknown[0]} under `tasks:`; add them")
    for task in recipe.tasks:
        get_task(task)
        for name in ("train", "dev"):
            if recipe.tasks[task].get(name) is None:
                raise InputError(f"{path}: tasks.{task} has no `{name}:`; give it a file")
    return recipe


def select_tables(recipe: Recipe, titles: Sequence[str]) -> Recipe:
    """Restricts a recipe to the tables with some titles.

    Raises:
        InputError: The recipe has no table with such a title.
    """
    known = [table.title for table in recipe.tables]
    if unknown := [title for title in titles if title not in known]:
        raise InputError(f"the recipe has no table {unknown[0]!r}; it has {', '.join(known)}")
    return replace(recipe, tables=[table for table in recipe.tables if table.title in titles])


def available_rows(recipe: Recipe, output: Path) -> tuple[Recipe, list[str]]:
    """Removes the rows of a recipe whose start does not exist yet.

    Args:
        recipe: The whole recipe.
        output: Folder of the results, including pretrained starts.

    Returns:
        The rest of the recipe, and the names of the rows removed.

    Raises:
        InputError: No row is left.
    """
    tables, left_out = [], []
    for table in recipe.tables:
        there = {
            row: value
            for row, value in table.rows.items()
            if _is_there(recipe, table, value, output)
        }
        left_out += [f"{table.title}: {row}" for row in table.rows if row not in there]
        if there:
            tables.append(replace(table, rows=there))
    if not tables:
        raise InputError("--available: no row of the recipe has a start that exists")
    return replace(recipe, tables=tables), left_out


def _is_there(recipe: Recipe, table: Table, settings: Mapping[str, Any], output: Path) -> bool:
    if "pretrain" in settings:
        _, name = _pretraining(recipe.pretrain | settings["pretrain"])
        return (output / "pretrained" / name / "metrics.json").exists()
    merged = [{**recipe.finetune, **recipe.tasks[task], **settings} for task in table.tasks]
    starts = {str(each.get("checkpoint", FinetuneConfig.checkpoint)) for each in merged}
    folders = [local_folder(start) for start in starts if not start.startswith(RANDOM)]
    # An unfinished pretraining run has only checkpoints, no `config.json`.
    return all(folder and (folder / "config.json").is_file() for folder in folders)


def measure_quality(recipe: Recipe, output: Path, jobs: int = 1) -> dict[Cell, dict[str, Any]]:
    """Does all runs of a recipe that were not done yet.

    Every run has a file `runs/TASK-START-seed-N-KEY.json` in the output folder, whose key is a hash
    of all its settings and of the weights it starts from. So a repeated call continues one that was
    stopped, and repeats runs whose settings or start have changed.

    Args:
        recipe: The recipe.
        output: Folder of the results.
        jobs: Number of parallel runs, which share the processor's cores.

    Returns:
        The content of `metrics.json` of each run.

    Raises:
        InputError: A setting or a data file is invalid.
        CheckpointError: A checkpoint cannot be loaded.
    """
    for name in ("runs", "logs"):
        make_output_folder(output / name, may_continue=True)
    cells = dict(_cells(recipe, output))
    files = {cell: output / "runs" / _file_name(config) for cell, config in cells.items()}
    todo = {files[cell]: config for cell, config in cells.items() if not files[cell].exists()}
    for config in {tuple(config.task): config for config in todo.values()}.values():
        read_data(config)  # reports errors of all runs before the first one begins
    for checkpoint in {config.checkpoint for config in todo.values()}:
        if not checkpoint.startswith(RANDOM):
            load(checkpoint)
    _log.info("%d runs are done, %d remain", len(set(files.values())) - len(todo), len(todo))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _begin_worker, (threads, output)
    ) as pool:
        try:
            waiting = [pool.submit(_run, config, path) for path, config in todo.items()]
            for number, done in enumerate(as_completed(waiting), 1):
                _log.info("%d/%d  %s", number, len(waiting), done.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {
        cell: json.loads(path.read_text(encoding="utf-8"))["metrics"]
        for cell, path in files.items()
    }


def _cells(recipe: Recipe, output: Path) -> Iterator[tuple[Cell, FinetuneConfig]]:
    """Yields every run with its settings, after pretraining its start if necessary."""
    for table in recipe.tables:
        for row, settings in table.rows.items():
            changes = dict(settings)
            if "pretrain" in changes:
                own = {**recipe.pretrain, **changes.pop("pretrain")}
                changes["checkpoint"] = str(_pretrained(own, output))
            for task in table.tasks:
                merged = {**recipe.finetune, **recipe.tasks[task], **changes}
                files = {name: [Path(merged[name])] for name in ("train", "dev")}
                for seed in recipe.seeds(table, task):
                    config = _settings(
                        FinetuneConfig,
                        f"{table.title}, {row}, {task}",
                        merged | files | {"task": [task], "output": output, "seed": seed},
                    )
                    yield Cell(table.title, row, task, seed), config


def _settings(kind: type[Any], place: str, values: Mapping[str, Any]) -> Any:
    """Makes the settings of a run; refuses unknown ones."""
    unknown = values.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise InputError(f"{place}: unknown settings: {', '.join(sorted(unknown))}")
    return validated(kind, values, place)


def _pretraining(settings: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Returns the settings of a pretraining run, including those of its `config`, and its name."""
    values = dict(settings)
    if "config" in values:
        values = read_settings(Path(values.pop("config")), "pretrain") | values
    return values, f"{values.get('model', 'model')}-{_hash(values)}"


def _pretrained(settings: Mapping[str, Any], output: Path) -> Path:
    """Pretrains a start unless that is done; continues a run that was killed."""
    values, name = _pretraining(settings)
    folder = output / "pretrained" / name
    if not (folder / "metrics.json").exists():
        _log.info("pretraining %s", folder)
        paths = {"corpus": Path(values["corpus"]), "output": folder, "resume": True}
        outcome = pretrain(_settings(PretrainConfig, name, values | paths))
        if not outcome.metrics:
            raise InputError(f"{folder}: stopped after step {outcome.step}; run this again")
    return folder


def _begin_worker(threads: int, output: Path) -> None:
    """Gives a worker its share of the cores, and a file for its output."""
    end_with_parent()
    torch.set_num_threads(threads)
    prepare_process()
    log = open(output / "logs" / f"{os.getpid()}.txt", "a", encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stderr = log


def _run(config: FinetuneConfig, path: Path) -> str:
    """Does one run, and keeps its scores but not its weights."""
    began = time.process_time()
    folder = config.output / f".run-{path.stem}"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    try:
        metrics = finetune(replace(config, output=folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    metrics["processor_seconds"] = seconds = time.process_time() - began
    settings = to_settings(config) | {"start": _start(config.checkpoint)}
    write_json(path, {"settings": settings, "metrics": metrics})
    task = get_task(config.task[0])
    score = metrics["scores"][task.main_score]
    return f"{path.stem}: {task.main_score} {score:.2f}, {seconds:.0f} s of a processor"


def _file_name(config: FinetuneConfig) -> str:
    settings = to_settings(replace(config, output=Path())) | {"start": _start(config.checkpoint)}
    start = Path(config.checkpoint.removeprefix(RANDOM)).name
    return f"{config.task[0]}-{start}-seed-{config.seed}-{_hash(settings)}.json"


def _start(checkpoint: str) -> str:
    """Identifies the weights of a start: by their SHA-256, or by name if they are not a file."""
    folder = local_folder(checkpoint)
    if folder is None or not (path := folder / "model.safetensors").is_file():
        return checkpoint
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
