"""Finding text in JSON by a JMESPath expression (jmespath.org).

A single name may consist of any letters, though JMESPath itself requires quotes around non-ASCII.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jmespath
import orjson
from datatrove.data import Document
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.visitor import TreeInterpreter

from kebyt5.corpus.readers.reader import defect, document
from kebyt5.errors import InputError, one_line


def check_path(option: str, path: str) -> None:
    """Checks that a path is a valid JMESPath.

    Raises:
        InputError: It is not; names the option.
    """
    try:
        _compiled(path)
    except JMESPathError as error:
        raise _no_path(f"{option} {path!r}", error) from error


def _no_path(what: str, error: Exception) -> InputError:
    return InputError(f"{what}: not a JMESPath (jmespath.org): {one_line(error)}")


@cache
def _compiled(path: str) -> Any:
    return jmespath.compile(f'"{path}"' if re.fullmatch(r"\w+", path) else path)


def find(path: str, value: Any) -> tuple[Any, int]:
    """Evaluates a path.

    Returns:
        The value at the path, None if there is none; and the number of list items in which a
        projection found nothing.

    Raises:
        InputError: The path calls an unknown function or the like, which shows only now.
    """
    interpreter = _Interpreter()
    try:
        found = interpreter.visit(_compiled(path).parsed, value)
    except (JMESPathTypeError, TypeError):  # a function got a value of the wrong type
        return None, 0
    except ValueError as error:
        raise _no_path(repr(path), error) from error
    return found, interpreter.missing if found is interpreter.projected else 0


class _Interpreter(TreeInterpreter):
    """Counts the items in which projections, such as `data[].paragraphs[].text`, find nothing.

    JMESPath itself silently skips them.
    """

    projected: list[Any] | None = None
    missing = 0

    def visit_projection(self, node: Any, value: Any) -> list[Any] | None:
        parts = self.visit(node["children"][0], value)
        return self._each(node, parts) if isinstance(parts, list) else None

    def visit_value_projection(self, node: Any, value: Any) -> list[Any] | None:
        parts = self.visit(node["children"][0], value)
        return self._each(node, list(parts.values())) if isinstance(parts, dict) else None

    def visit_filter_projection(self, node: Any, value: Any) -> list[Any] | None:
        parts = self.visit(node["children"][0], value)
        if not isinstance(parts, list):
            return None
        before = self.missing
        passing = [part for part in parts if self._is_true(self.visit(node["children"][2], part))]
        self.missing = before  # conditions may find nothing
        return self._each(node, passing)

    def _each(self, node: Any, parts: list[Any]) -> list[Any]:
        found = [self.visit(node["children"][1], part) for part in parts]
        self.projected = [value for value in found if value is not None]
        self.missing += len(found) - len(self.projected)
        return self.projected


def text_at(path: str, value: Any, place: str) -> Iterator[Document]:
    """Yields the document whose text is at a path, and defects for missing texts."""
    found, missing = find(path, value)
    text = as_text(found)
    if text is None:
        yield defect(f"no text at {path}", place, text=_shown(value))
    elif text or not missing:
        yield document(text, place)
    if missing and text is not None:
        yield defect(f"parts without text at {path}", place, f"{missing:,}", _shown(value))


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def parse(data: str) -> Any:
    """Parses JSON.

    Raises:
        json.JSONDecodeError: Names the line.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # Python's parser reports the position, and accepts NaN and the like, which are not strict
        # JSON. It refuses very long integers unless they are parsed as something else.
        try:
            return json.loads(data, parse_int=float)
        except RecursionError as error:
            raise json.JSONDecodeError("nested too deeply", data, 0) from error


def as_text(value: Any) -> str | None:
    """Returns a text, or a list of texts joined by newlines; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return None
