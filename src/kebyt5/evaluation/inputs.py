"""Reading new inputs, from the command line or a file, as examples without gold."""

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from kebyt5.encodings import decode_utf8
from kebyt5.errors import InputError
from kebyt5.models.offsets import has_surrogate
from kebyt5.tasks import Example, Task
from kebyt5.tasks.files import ID_KEYS, Record

_log = logging.getLogger(__name__)

_DATA = (".csv", ".json", ".parquet", ".tsv")
"""Endings of files that are not a text per line."""


def read_inputs(task: Task, source: Path | Iterable[str]) -> list[Example]:
    """Makes an example of each text, or of each line of a file; blank ones are skipped.

    A text is plain text if the task takes that; otherwise, and in a `.jsonl` file, it is a JSON
    object with the fields and, if wanted, an `id`, which is otherwise the number of the line.

    Args:
        task: The task that the inputs are for.
        source: A UTF-8 file, `-` for standard input, or the texts themselves.

    Raises:
        InputError: The file cannot be read, or a line is malformed; names file and line.
    """
    if isinstance(source, Path):
        name = "standard input" if str(source) == "-" else str(source)
        lines = _read_text(source, name).split("\n")
        texts = enumerate((line.rstrip("\r") for line in lines), 1)
        plain = task.takes_plain_text and source.suffix.lower() != ".jsonl"
    else:
        name, texts, plain = "input", enumerate(source, 1), task.takes_plain_text
    numbered = list(texts)
    while numbered and not numbered[-1][1].strip():
        numbered.pop()  # the newline at the end of the last line makes an empty one
    examples = [
        _example(task, text, f"{name}:{line}", plain) for line, text in numbered if text.strip()
    ]
    if blank := len(numbered) - len(examples):
        _log.warning("%d blank inputs were skipped; `id` is the line number.", blank)
    if not examples:
        raise InputError(f"{name}: contains no input; give at least one line of text")
    return examples


def _read_text(source: Path, name: str) -> str:
    if source.suffix.lower() in _DATA:
        raise InputError(
            f"{source}: a data file, whose lines are no inputs; give a text per line or .jsonl,"
            " or score it by kebyt5 evaluate --data"
        )
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error
    return decode_utf8(data, name)


def _example(task: Task, text: str, place: str, plain: bool) -> Example:
    fields, name = task.input_fields, place.rpartition(":")[2]
    if plain:
        inputs = {fields[0]: text}
    else:
        try:
            inputs = json.loads(text)
            if not isinstance(inputs, dict):
                raise ValueError("not an object")
            name = Record(inputs, place).name or name
            inputs = {field: value for field, value in inputs.items() if field not in ID_KEYS}
            task.example(**inputs)
            if not all(isinstance(value, str) for value in inputs.values()):
                raise TypeError("not all values are text")
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{place}: expected a JSON object with the fields {', '.join(fields)}: {error}"
            ) from error
    if any(map(has_surrogate, inputs.values())):
        raise InputError(f"{place}: not UTF-8; the text contains bytes that are not characters")
    return Example(id=name, inputs=inputs, place=place)
