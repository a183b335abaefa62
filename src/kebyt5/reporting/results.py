"""Reading what runs left: scores, predictions, curves."""

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
"""Up to this many points two scores are one; the order of a sum may change the last digits."""


@dataclass(frozen=True)
class Predicted:
    """One line of a predictions file.

    Attributes:
        example: With gold, as far as the target text tells it.
        text: What the model wrote.
        target: What it should have written.
        log_likelihoods: Of the labels; empty where the file does not have them.
    """

    example: Example
    text: str
    target: str
    log_likelihoods: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """The scores of one task and what they were computed from.

    Attributes:
        name: The folder, without what all runs of a report have in common.
        task: The task.
        metrics: The content of `metrics.json`.
        predicted: The lines of `predictions.jsonl`; None where there is no such file, or it has no
            targets.
        data: The file that was scored; None where the run held a part of its training data out.
    """

    name: str
    task: Task
    metrics: Mapping[str, Any]
    predicted: Sequence[Predicted] | None
    data: str | None

    @property
    def examples(self) -> list[Example]:
        """The examples that were answered."""
        return [line.example for line in self.predicted or ()]

    @property
    def texts(self) -> list[str]:
        """The answers to them."""
        return [line.text for line in self.predicted or ()]


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation of several results, by task and score."""

    name: str
    runs: Sequence[str]
    tasks: Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class History:
    """What a training logged, an entry a step."""

    name: str
    entries: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Runs:
    """Everything found in some folders."""

    results: Sequence[Result]
    summaries: Sequence[Summary]
    histories: Sequence[History]


def read_runs(folders: Sequence[Path]) -> Runs:
    """Reads every result at or below some folders.

    Raises:
        InputError: A folder has no result, or a file in it is malformed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the output folder of a run")
    common = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
    found: dict[Path, Result | Summary | None] = {}
    histories: dict[Path, History] = {}
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
                name = path.parent.relative_to(common).as_posix()
                histories[path] = History(name, entries)
    return Runs(
        [each for each in found.values() if isinstance(each, Result)],
        [each for each in found.values() if isinstance(each, Summary)],
        list(histories.values()),
    )


def _files(folder: Path, name: str) -> list[Path]:
    """The files of a name at or below a folder, but for what a killed run left in hidden ones."""
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
    """Compares the scores a run stored with those of its predictions file.

    Returns:
        The scores of the file that differ, and the names of those that it cannot tell, as the area
        under precision and recall, which needs likelihoods.
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
        raise InputError(f"{path}: 'scores' are no numbers by name; make the result again")
    if not isinstance(metrics.get("examples"), int):
        raise InputError(f"{path}: 'examples' is no number; make the result again")
    try:
        task = get_task(metrics["task"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    predictions = path.with_name("predictions.jsonl")
    predicted = _read_predicted(predictions, task) if predictions.is_file() else None
    return Result(name, task, metrics, predicted, metrics.get("data"))


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
            f"{path}: 'summary' is no mean and std by task and score; make it again"
        ) from error


def _read_predicted(path: Path, task: Task) -> list[Predicted] | None:
    """Reads a predictions file; None where it has no targets, as for new inputs."""
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
                raise TypeError("'text' and 'target' have to be text")
            bare = Example(str(record["id"]), inputs, place=f"{path}:{number}")
            gold = task.gold_of_target(target, bare)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}:{number}: no prediction as `kebyt5 evaluate` writes it"
                f" ({type(error).__name__}: {error}); make the result again"
            ) from error
        example = Example(bare.id, inputs, gold, bare.place)
        predicted.append(Predicted(example, text, target, record.get("log_likelihoods") or {}))
    return predicted


__all__ = ["History", "Predicted", "Result", "Runs", "Summary", "differences", "read_runs"]
