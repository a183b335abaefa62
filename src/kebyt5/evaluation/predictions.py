"""Reading and writing files of predictions, including those of other programs."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from kebyt5.errors import InputError
from kebyt5.evaluation.predict import Predictions
from kebyt5.output import write_text
from kebyt5.tasks import Example, Task
from kebyt5.tasks.files import read_json, read_lines


def read_predictions(
    task: Task, path: Path, examples: Sequence[Example], limit: int | None = None
) -> list[str]:
    """Reads one generated text for each example, in the order of the examples.

    Args:
        task: The task, which finds the texts in a plain file, where they may have several lines.
        path: A `.jsonl` or `.json` file whose objects have `text` and optionally `id`, which has
            to match the example's; or plain text with one prediction per line.
        examples: The examples that the predictions are for.
        limit: Number of texts to return, for the first examples; the file may have texts for
            just these or for all examples. None for all.

    Raises:
        InputError: The file does not have one prediction for each example, or an `id` differs.
    """
    is_json = path.suffix.lower() in (".json", ".jsonl")
    for expected in (examples, examples[:limit]):
        found = _read_objects(path) if is_json else _read_texts(task, path, len(expected))
        if len(found) == len(expected):
            _check_ids(path, found, expected)
            return [text for _, _, text in found[:limit]]
    fewer = "" if limit is None else f", of which --limit takes {limit}"
    raise InputError(
        f"{path}: {len(found)} predictions for {len(examples)} examples{fewer}; give one for each,"
        " in the order of the data, in plain text one per line"
    )


def _read_texts(task: Task, path: Path, count: int) -> list[tuple[int, str | None, str]]:
    """Reads number, id (None) and text of every prediction in a plain text file."""
    lines = [line for _, line in read_lines(path)]
    if lines and not lines[-1]:
        lines.pop()  # the newline at the end of the last line makes an empty one
    return [(number, None, text) for number, text in enumerate(task.split_texts(lines, count), 1)]


def _read_objects(path: Path) -> list[tuple[int, str | None, str]]:
    """Reads line, id and text of every object: one per line, or a list of objects or texts."""
    numbered = [(number, line) for number, line in read_lines(path) if line.strip()]
    if numbered and numbered[0][1].lstrip().startswith("["):
        content = read_json(path)
        objects = [(1, {"text": item} if isinstance(item, str) else item) for item in content]
    else:
        objects = []
        for number, line in numbered:
            try:
                objects.append((number, json.loads(line)))
            except ValueError as error:
                raise InputError(
                    f"{path}:{number}: not JSON ({error}); expected one object per line"
                ) from error
    found = []
    for number, item in objects:
        text = item.get("text") if isinstance(item, dict) else None
        if not isinstance(text, str):
            raise InputError(f"{path}:{number}: expected a JSON object with the field 'text'")
        name = item.get("id")
        found.append((number, None if name is None else str(name), text))
    return found


def _check_ids(
    path: Path, records: Sequence[tuple[int, str | None, str]], examples: Sequence[Example]
) -> None:
    """Refuses predictions whose ids are not those of the examples."""
    for (number, name, _), example in zip(records, examples, strict=True):
        if name is not None and name != example.id:
            raise InputError(
                f"{path}:{number}: a prediction for {name!r}, but the data has {example.id!r}"
                f" here ({example.place}); put the predictions in the order of the data"
            )


def write_predictions(path: str | os.PathLike[str], task: Task, predictions: Predictions) -> None:
    """Writes one JSON object per line.

    Its keys are `id`, `input` (the fields), `text`, `answer` (the text as the task reads it) and
    `unparsed` (why the text is malformed). There is also `target` if the example has gold,
    `log_likelihoods` by label if they were compared, and `generation` (counts of how the text was
    generated) if the engine generated it.
    """
    lines = []
    for row, (example, text) in enumerate(
        zip(predictions.examples, predictions.texts, strict=True)
    ):
        parsed = task.parse(text, example)
        record = {
            "id": example.id,
            "input": dict(example.inputs),
            "text": text,
            "answer": task.answer(parsed, example),
            "unparsed": parsed.reason,
        }
        if example.gold is not None:
            record["target"] = task.target_text(example)
        if predictions.log_likelihoods is not None:
            values = predictions.log_likelihoods[row].round(4).tolist()
            record["log_likelihoods"] = dict(zip(task.labels, values, strict=True))
        if predictions.statistics is not None:
            record["generation"] = asdict(predictions.statistics[row])
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


__all__ = ["read_predictions", "write_predictions"]
