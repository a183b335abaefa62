"""Detects grammars and schemas that no text satisfies because their rules recurse for ever.

llguidance notices only once no byte is allowed; `start: "a" start | "b" start` never ends. A
grammar that has a text is never reported as empty; constructs unknown here count as having one.
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
"""Rules without their terminals; excludes nested grammars, parameters and special tokens."""


def with_optional_terminals(grammar: str) -> str | None:
    """Rewrites a grammar in llguidance's variant of Lark so that every terminal is optional.

    If the rewritten grammar has any text, the empty one is among them. So a grammar whose terminals
    all have a text has one itself if and only if the rewritten one allows the empty text.

    Returns:
        The rewritten grammar; None if the grammar contains more than rules and terminals.
    """
    if not _RULES.fullmatch(_PARTS.sub("", grammar)):
        return None
    return _PARTS.sub(lambda part: part[0] if part["kept"] else f'(""|{part[0]})', grammar)


def is_empty_schema(schema: Any) -> bool:
    """Whether no JSON value satisfies a schema, judging by `$ref`, `required` and `minItems`.

    A fixed-point iteration: starting with referenced parts that need no other, those whose needs
    are met are found to have a value. Parts that are left need themselves.
    """
    nodes = list(_nodes(schema))
    if any(isinstance(node.get(key), str) for node in nodes[1:] for key in ("$id", "id")):
        return False  # `$ref` would be relative to these
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
    """The part of a schema at a JSON pointer; None for any other reference."""
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
    """Whether a schema may have a value if the references in `unmet` have none."""
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
