"""Reading and writing files of predictions, including those of other programs."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kebyt5.errors import InputError
from kebyt5.evaluation.predict import Predictions
from kebyt5.output import write_text
from kebyt5.tasks import Example, Task
from kebyt5.tasks.files import (
    Record,
    json_records,
    jsonl_records,
    read_json,
    read_lines,
    read_text,
)


def read_predictions(
    task: Task, path: Path, examples: Sequence[Example], limit: int | None = None
) -> Predictions:
    """Reads one generated text for each example, in the order of the examples.

    Args:
        task: The task, which finds the texts in a plain file, where they may have several lines.
        path: A `.jsonl` or `.json` file whose objects have `text` and optionally `id`, which has
            to match the example's, and `log_likelihoods` by label; or plain text with one
            prediction per line.
        examples: The examples that the predictions are for.
        limit: Number of predictions to return, for the first examples; the file may have texts
            for just these or for all examples. None for all.

    Raises:
        InputError: The file does not have one prediction for each example, an `id` differs, or
            likelihoods are not those of the task's labels or contradict the text.
    """
    is_json = path.suffix.lower() in (".json", ".jsonl")
    # First the smaller number: two lines a text may as well be twice as many texts of a line.
    for expected in (examples[:limit], examples):
        found = _read_objects(path) if is_json else _read_texts(task, path, len(expected))
        if len(found) == len(expected):
            _check_ids(found, expected)
            taken = found[:limit]
            return Predictions(
                examples[:limit],
                [prediction.text for prediction in taken],
                truncated=0,
                log_likelihoods=_table(task, taken),
            )
    fewer = "" if limit is None else f", of which --limit takes {limit}"
    raise InputError(
        f"{path}: {len(found)} predictions for {len(examples)} examples{fewer}; give one for each,"
        " in the order of the data, in plain text one per line"
    )


class _Prediction(NamedTuple):
    text: str
    id: str | None = None
    place: str = ""
    log_likelihoods: Any = None
    inputs: Any = None


def _read_texts(task: Task, path: Path, count: int) -> list[_Prediction]:
    """Reads every prediction in a plain text file."""
    lines = [line for _, line in read_lines(path)]
    if lines and not lines[-1]:
        lines.pop()  # the newline at the end of the last line makes an empty one
    return [_Prediction(text) for text in task.split_texts(lines, count)]


def _read_objects(path: Path) -> list[_Prediction]:
    """Reads every prediction in a JSON file: an object per line, or a list of objects or texts."""
    if read_text(path).lstrip().startswith("["):
        content = read_json(path)
        if content and all(isinstance(item, str) for item in content):
            content = [{"text": text} for text in content]
            records = [Record(item, f"{path}:{n}", n) for n, item in enumerate(content, 1)]
        else:
            records = list(json_records(path))
    else:
        records = list(jsonl_records(path))
    return [
        _Prediction(
            record.text("text"),
            record.name,
            record.place,
            record.fields.get("log_likelihoods"),
            record.fields.get("input"),
        )
        for record in records
    ]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _table(task: Task, predictions: Sequence[_Prediction]) -> np.ndarray | None:
    """Returns the likelihoods of the task's labels, shape (predictions, labels), if all have them.

    Raises:
        InputError: They are not one number for each label, or another label is likelier than the
            text.
    """
    if not task.labels or all(each.log_likelihoods is None for each in predictions):
        return None
    rows = []
    for text, _, place, values, _ in predictions:
        is_table = isinstance(values, dict) and set(values) == set(task.labels)
        if not is_table or not all(_is_number(value) for value in values.values()):
            raise InputError(
                f"{place}: 'log_likelihoods' has to be an object with one number for each label of"
                f" {task.name}, in each line or in none"
            )
        best = max(values, key=values.__getitem__)
        if values.get(text) != values[best]:
            raise InputError(
                f"{place}: the text is {text!r}, but {best!r} is likelier by 'log_likelihoods';"
                " remove them to score the texts alone"
            )
        rows.append([values[label] for label in task.labels])
    return np.array(rows, dtype=float).reshape(-1, len(task.labels))


def _is_for(prediction: _Prediction, example: Example) -> bool:
    """Whether a prediction is for an example, by its inputs if it has those, else by its name."""
    inputs = prediction.inputs
    if isinstance(inputs, dict) and inputs.keys() == example.inputs.keys():
        return inputs == example.inputs
    # Examples that share a name have `name#number`.
    return prediction.id in (None, example.id, example.id.rpartition("#")[0])


def _check_ids(predictions: Sequence[_Prediction], examples: Sequence[Example]) -> None:
    """Refuses predictions that name another example, unless its inputs are the same."""
    for prediction, example in zip(predictions, examples, strict=True):
        if not _is_for(prediction, example):
            raise InputError(
                f"{prediction.place}: a prediction for {prediction.id!r}, but the data has"
                f" {example.id!r} here ({example.place}); put the predictions in the order of the"
                " data"
            )


def prediction_lines(task: Task, predictions: Predictions) -> Iterator[str]:
    """Yields one JSON object per line.

    Its keys are `id`, `input` (the fields), `text`, `answer` (the text as the task reads it) and
    `unparsed` (why the text is malformed). There is also `target` if the example has gold,
    `log_likelihoods` by label if they were compared, and `generation` (counts of how the text was
    generated) if the engine generated it.
    """
    for row, (example, text) in enumerate(
        zip(predictions.examples, predictions.texts, strict=True)
    ):
        parsed = task.parse(text, example)
        record = {
            "id": example.id,
            "input": dict(example.inputs),
            "text": text,
            "answer": task.to_json(parsed, example),
            "unparsed": parsed.reason,
        }
        if example.gold is not None:
            record["target"] = task.target_text(example)
        if predictions.log_likelihoods is not None:
            values = predictions.log_likelihoods[row].tolist()
            record["log_likelihoods"] = dict(zip(task.labels, values, strict=True))
        if predictions.statistics is not None:
            record["generation"] = asdict(predictions.statistics[row])
        yield json.dumps(record, ensure_ascii=False) + "\n"


def write_predictions(path: str | os.PathLike[str], task: Task, predictions: Predictions) -> None:
    """Writes the lines of `prediction_lines` to a file."""
    write_text(path, "".join(prediction_lines(task, predictions)))
