"""Grammars and schemas that have no text at all because their rules need each other for ever.

llguidance finds out only where no byte is left to choose; `start: "a" start | "b" start` goes on
and on. Nothing that has a text is ever taken for empty; what is written in a way not known here
counts as having one.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_KEPT = (
    r"(?P<kept>(?:\#|//)[^\n]*"  # a comment
    r"|%(?:ignore|import|declare)\b[^\n]*"
    r"|(?<![\w-])_?[A-Z][\w-]*(?=[ \t]*(?:\.[ \t]*-?\d+[ \t]*)?:))"  # the name that is defined
)
_STRING = r'"(?:\\.|[^"\\\n])*"'
_TERMINAL = rf"{_STRING}[ \t]*\.\.[ \t]*{_STRING}|{_STRING}i?|/(?:\\.|[^/\\])+/[imslux]*"
_NAME = r"(?<![\w-])_?[A-Z][\w-]*"
_PARTS = re.compile(f"{_KEPT}|{_TERMINAL}|{_NAME}", re.DOTALL)
_RULES = re.compile(r"(?:[\w\s|()\[\]{}?*+!.,>-]|:(?!:)|~(?=\s*\d))*")
"""What rules are made of beside terminals: no nested grammars, parameters, special tokens."""


def with_optional_terminals(grammar: str) -> str | None:
    """The grammar in which every terminal may be left out, in llguidance's variant of Lark.

    Its shortest text is the empty one, if it has any: so a grammar whose terminals all have a text
    has one itself if and only if the empty text belongs to this one.

    Returns:
        None where the grammar holds more than rules and terminals.
    """
    if not _RULES.fullmatch(_PARTS.sub("", grammar)):
        return None
    return _PARTS.sub(lambda part: part[0] if part["kept"] else f'(""|{part[0]})', grammar)


def is_empty_schema(schema: Any) -> bool:
    """Whether no JSON value can meet a schema, as far as `$ref`, `required` and `minItems` say.

    Those of its parts that are referred to are found to have a value one after the other, from
    such as need no other on; what is left needs itself.
    """
    nodes = list(_nodes(schema))
    if any(isinstance(node.get(key), str) for node in nodes[1:] for key in ("$id", "id")):
        return False  # references are relative to these
    targets = {}
    for node in nodes:
        reference = node.get("$ref")
        if isinstance(reference, str) and (target := _target(schema, reference)) is not None:
            targets[reference] = target
    unmet = set(targets)
    while met := {each for each in unmet if _has_value(targets[each], unmet)}:
        unmet -= met
    return not _has_value(schema, unmet)


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    if isinstance(part, dict | list):
        for below in part.values() if isinstance(part, dict) else part:
            yield from _nodes(below)


def _target(schema: Any, reference: str) -> Any:
    """What a JSON pointer leads to; None for anything else."""
    if reference == "#":
        return schema
    if not reference.startswith("#/"):
        return None
    try:
        for step in unquote(reference[2:]).split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            schema = schema[int(key) if isinstance(schema, list) else key]
    except (LookupError, TypeError, ValueError):
        return None
    return schema


def _has_value(part: Any, unmet: set[str]) -> bool:
    """Whether a schema may have a value where those referred to as `unmet` have none."""
    if not isinstance(part, dict):
        return part is not False
    if part.get("$ref") in unmet:
        return False
    for key, enough in (("allOf", all), ("anyOf", any), ("oneOf", any)):
        several = part.get(key) or [True]
        if not enough(_has_value(each, unmet) for each in several):
            return False
    types = part.get("type")
    types = types if isinstance(types, list) else [types]
    possible = {"object": _has_object, "array": _has_array}
    return any(kind not in possible or possible[kind](part, unmet) for kind in types)


def _has_object(part: dict[str, Any], unmet: set[str]) -> bool:
    properties, required = part.get("properties", {}), part.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return True
    others = True if "patternProperties" in part else part.get("additionalProperties", True)
    return all(_has_value(properties.get(name, others), unmet) for name in required)


def _has_array(part: dict[str, Any], unmet: set[str]) -> bool:
    first, fewest = part.get("prefixItems", []), part.get("minItems", 0)
    if not isinstance(first, list) or not isinstance(fewest, int):
        return True
    needed = first[:fewest] + [part.get("items", True)] * (fewest > len(first))
    return all(_has_value(each, unmet) for each in needed)


__all__ = ["is_empty_schema", "with_optional_terminals"]
