"""JSON schemas as llguidance takes them, and what it would silently read as something else."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from kebyt5.errors import one_line
from kebyt5.generation.constraints.constraint import ConstraintError

_LITERAL = {"const", "enum"}
"""Keys of values that are no schemas, whatever they contain."""

_EXACT = {"const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_COUNTS = {f"{side}{what}" for side in ("min", "max") for what in ("Length", "Items", "Properties")}


def read_schema(schema: str | Mapping[str, Any]) -> Any:
    """Reads a schema; spells references in ASCII and counts as integers, as llguidance needs them.

    Args:
        schema: JSON text or a mapping.

    Raises:
        ConstraintError: It is no JSON, or llguidance would take something in it for something else.
    """
    try:
        content = json.loads(schema if isinstance(schema, str) else json.dumps(schema))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConstraintError(f"the schema cannot be read: {one_line(error)}") from error
    for part in objects(content, without=_LITERAL):
        _respell(part)
        _require_whole_patterns(part)
        for each in (each for name in _EXACT & part.keys() for each in values(part[name])):
            _require_exact(each)
    return content


def objects(value: Any, without: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """All objects of a JSON value, an outer one before those within.

    Args:
        value: The value.
        without: Keys whose values are passed over.
    """
    return (each for each in values(value, without) if isinstance(each, dict))


def values(value: Any, without: Collection[str] = ()) -> Iterator[Any]:
    """A JSON value and all values within, an outer one before its inner ones; see `objects`."""
    waiting = [value]
    while waiting:
        yield (part := waiting.pop())
        if isinstance(part, dict):
            waiting += (below for key, below in part.items() if key not in without)
        elif isinstance(part, list):
            waiting += part


def require_whole_pattern(pattern: str) -> None:
    """Refuses an expression that ends within an escape: llguidance would drop the backslash."""
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise ConstraintError("the expression ends within an escape; write \\\\ for a backslash")


def _respell(part: dict[str, Any]) -> None:
    reference = part.get("$ref")
    if isinstance(reference, str):
        part["$ref"] = quote(reference, safe="#/%:?&=+,;@!$'()*~-._[]")
    for name in _COUNTS & part.keys():
        if isinstance(part[name], float) and part[name].is_integer():
            part[name] = int(part[name])


def _require_whole_patterns(part: dict[str, Any]) -> None:
    if isinstance(part.get("pattern"), str):
        require_whole_pattern(part["pattern"])
    by_pattern = part.get("patternProperties")
    for pattern in by_pattern if isinstance(by_pattern, dict) else ():
        require_whole_pattern(pattern)


def _require_exact(value: Any) -> None:
    """Refuses an integer that no double is equal to, such as most above 2^53."""
    if isinstance(value, int) and (value.bit_length() > 1000 or int(float(value)) != value):
        raise ConstraintError(
            f"the integer {str(value)[:30]} would be rounded: numbers in a schema are doubles;"
            " for a long identifier, write a string or a pattern"
        )
