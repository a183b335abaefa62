"""Reading the output of runs: scores, predictions, training logs."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kebyt5.errors import InputError
from kebyt5.tasks import Example, Task, get_task
from kebyt5.tasks.files import read_json, read_lines

_SAME = 1e-6
"""Largest difference, in points, of equal scores; the order of a sum may change the last digits."""


@dataclass(frozen=True)
class PredictionLine:
    """One line of a predictions file.

    Attributes:
        example: The example; its gold is recovered from the target text as far as possible.
        text: The text that the model wrote.
        target: The text that it should have written.
        log_likelihoods: Log-likelihoods by label; empty if the file does not have them.
    """

    example: Example
    text: str
    target: str
    log_likelihoods: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """The scores of one task and what they were computed from.

    Attributes:
        name: Path of the folder, relative to the common parent of all folders of the report.
        task: The task.
        metrics: The content of `metrics.json`.
        predicted: The lines of `predictions.jsonl`; None if there is no such file or it has no
            targets.
        data: The file that was scored; None if the run held out a part of its training data.
    """

    name: str
    task: Task
    metrics: Mapping[str, Any]
    predicted: Sequence[PredictionLine] | None
    data: str | None

    @property
    def examples(self) -> list[Example]:
        """The examples in the predictions file."""
        return [line.example for line in self.predicted or ()]

    @property
    def texts(self) -> list[str]:
        """The model's answers to the examples."""
        return [line.text for line in self.predicted or ()]


@dataclass(frozen=True)
class Summary:
    """The mean and standard deviation of several results, by task and score."""

    name: str
    runs: Sequence[str]
    tasks: Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class TrainingLog:
    """The log of a training run, one entry per logged step."""

    name: str
    entries: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Runs:
    """All results, summaries and training logs found in some folders."""

    results: Sequence[Result]
    summaries: Sequence[Summary]
    logs: Sequence[TrainingLog]


def read_runs(folders: Sequence[Path]) -> Runs:
    """Reads every result in some folders and their subfolders.

    Raises:
        InputError: A folder has no result, or a file in it is malformed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the output folder of a run")
    common = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
    found: dict[Path, Result | Summary | None] = {}
    logs: dict[Path, TrainingLog] = {}
    for folder in (folder.resolve() for folder in folders):
        paths = _files(folder, "metrics.json")
        found |= {path: _scores(path, common) for path in paths if path not in found}
        if not any(found[path] for path in paths):
            raise InputError(
                f"{folder}: no result here; expected a metrics.json as `kebyt5 finetune` and"
                " `kebyt5 evaluate --output` write it"
            )
        for path in _files(folder, "history.json"):
            entries = read_json(path)
            if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
                if not all(isinstance(entry.get("step"), int | float) for entry in entries):
                    raise InputError(f"{path}: entries without a step; the file is damaged")
                name = path.parent.relative_to(common).as_posix()
                logs[path] = TrainingLog(name, entries)
    return Runs(
        [each for each in found.values() if isinstance(each, Result)],
        [each for each in found.values() if isinstance(each, Summary)],
        list(logs.values()),
    )


def _files(folder: Path, name: str) -> list[Path]:
    """Finds files by name in a folder and its subfolders, except hidden ones of killed runs."""
    return [
        path
        for path in sorted(folder.rglob(name))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _scores(path: Path, common: Path) -> Result | Summary | None:
    name, metrics = path.parent.relative_to(common).as_posix(), read_json(path)
    if isinstance(metrics, dict) and "task" in metrics:
        return _result(path, name, metrics)
    if isinstance(metrics, dict) and "summary" in metrics:
        return _summary(path, name, metrics["summary"])
    return None


def differences(result: Result) -> tuple[dict[str, float], list[str]]:
    """Compares the scores that a run stored with those recomputed from its predictions file.

    Returns:
        The recomputed scores that differ, and the names of scores that cannot be recomputed, such
        as the area under the precision-recall curve, which needs likelihoods.
    """
    stored = result.metrics["scores"]
    anew = result.task.score(result.examples, result.texts) if result.predicted else {}
    differ = {
        name: anew[name]
        for name in stored
        if name in anew and not math.isclose(stored[name], anew[name], rel_tol=0, abs_tol=_SAME)
    }
    return differ, [name for name in stored if name not in anew]


def _result(path: Path, name: str, metrics: dict[str, Any]) -> Result:
    scores = metrics.get("scores")
    if not isinstance(scores, dict) or not all(isinstance(v, int | float) for v in scores.values()):
        raise InputError(f"{path}: 'scores' is not a mapping of names to numbers; evaluate again")
    if not isinstance(metrics.get("examples"), int):
        raise InputError(f"{path}: 'examples' is not a number; evaluate again")
    if not isinstance(metrics.get("made") or {}, dict):
        raise InputError(f"{path}: 'made' is not a mapping; evaluate again")
    if not _are_bins(metrics.get("by_length") or []):
        raise InputError(f"{path}: 'by_length' has no bins of bytes with scores; evaluate again")
    try:
        task = get_task(metrics["task"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    predictions = path.with_name("predictions.jsonl")
    predicted = _read_predicted(predictions, task) if predictions.is_file() else None
    return Result(name, task, metrics, predicted, metrics.get("data"))


def _are_bins(bins: Any) -> bool:
    return isinstance(bins, list) and all(
        isinstance(each, dict)
        and isinstance(each.get("examples"), int)
        and isinstance(each.get("scores"), dict)
        and isinstance(each.get("bytes"), list)
        and all(end is None or isinstance(end, int) for end in each["bytes"])
        for each in bins
    )


def _summary(path: Path, name: str, summary: Any) -> Summary:
    try:
        tasks = {
            task: {
                score: {"mean": float(v["mean"]), "std": float(v["std"])}
                for score, v in scores.items()
            }
            for task, scores in summary["tasks"].items()
        }
        return Summary(name, list(summary["runs"]), tasks)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: 'summary' does not have mean and std by task and score; run it again"
        ) from error


def _read_predicted(path: Path, task: Task) -> list[PredictionLine] | None:
    """Reads a predictions file; None if it has no targets, as for new inputs."""
    predicted = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if "target" not in record:
                return None
            text, target, inputs = record["text"], record["target"], record["input"]
            if not (isinstance(text, str) and isinstance(target, str)):
                raise TypeError("'text' and 'target' have to be strings")
            if not all(isinstance(value, str) for value in inputs.values()):
                raise TypeError("the fields of 'input' have to be strings")
            bare = Example(str(record["id"]), inputs, place=f"{path}:{number}")
            gold = task.gold_of_target(target, bare)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}:{number}: not a prediction as `kebyt5 evaluate` writes it"
                f" ({type(error).__name__}: {error}); evaluate again"
            ) from error
        example = Example(bare.id, inputs, gold, bare.place)
        likelihoods = record.get("log_likelihoods") or {}
        predicted.append(PredictionLine(example, text, target, likelihoods))
    return predicted
