"""Finding the text in JSON by a JMESPath expression (jmespath.org).

A single name may have any letters, where JMESPath itself wants quotes around all but ASCII.
"""

import json
import re
from functools import cache
from typing import Any

import jmespath
import orjson

from kebyt5.errors import InputError


def check_path(option: str, path: str) -> None:
    """Refuses a path that is none.

    Raises:
        InputError: Names the option.
    """
    try:
        _compiled(path)
    except jmespath.exceptions.JMESPathError as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{option} {path!r}: no path as in jmespath.org: {cause}") from error


@cache
def _compiled(path: str) -> Any:
    return jmespath.compile(f'"{path}"' if re.fullmatch(r"\w+", path) else path)


def find(path: str, value: Any) -> Any:
    """What a path leads to, None if nowhere."""
    return _compiled(path).search(value)


def parse(data: bytes | str) -> Any:
    """Parses JSON.

    Raises:
        json.JSONDecodeError: Names the line.
        RecursionError: It is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # Python's parser says where, and takes what is no JSON in the strict sense, such as NaN.
        return json.loads(data)


def as_text(value: Any) -> str | None:
    """A text, or texts that become lines of one; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return None


__all__ = ["as_text", "check_path", "find", "parse"]
