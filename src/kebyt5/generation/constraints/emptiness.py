"""Detects grammars and schemas that no text satisfies because their rules recurse for ever.

llguidance notices only once no byte is allowed; `start: "a" start | "b" start` never ends. A
grammar that has a text is never reported as empty; constructs unknown here count as having one.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial
from typing import Any
from urllib.parse import unquote

from kebyt5.generation.constraints.constraint import ConstraintError
from kebyt5.generation.constraints.schema import objects

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

_OF_A_TYPE = ("properties", "required", "additionalProperties", "patternProperties",
              "minProperties", "prefixItems", "items", "minItems")  # fmt: skip
"""Keywords of a schema that apply to objects or to arrays alone."""


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


def require_no_tokens(grammar: str) -> None:
    """Refuses a grammar that holds tokens by name or number, which need not be text.

    Raises:
        ConstraintError: It does.
    """
    if token := re.search(r"<[^\s<>]*>", _PARTS.sub("", grammar)):
        raise ConstraintError(f"the grammar holds the token {token[0]}; write its text in quotes")


def is_empty_schema(schema: Any) -> bool:
    """Whether no JSON value satisfies a schema, judging by what its parts need of each other.

    Parts that need no other have a value, then those whose needs are met by them, and so on; what
    is left needs itself. Takes time in proportion to the needs.
    """
    parts = list(objects(schema))
    if any(isinstance(part.get(key), str) for part in parts[1:] for key in ("$id", "id")):
        return False  # `$ref` would be relative to these
    target = cache(partial(_target, schema))
    unmet: dict[int, set[int]] = {}  # numbers of the needs of each part
    serves = defaultdict(list)  # whose needs a part meets
    known = set(map(id, parts))
    for part in parts:  # and what is made of those with several types
        unmet[id(part)] = set()
        for number, several in enumerate(_needs(part, target)):
            if all(isinstance(each, dict) or each is False for each in several):
                unmet[id(part)].add(number)
                parts += (each for each in several if each is not False and id(each) not in known)
                for each in several:
                    serves[id(each)].append((part, number))
    waiting = [part for part in parts if not unmet[id(part)]]
    while waiting:
        for part, number in serves[id(waiting.pop())]:
            if number in unmet[id(part)]:
                unmet[id(part)].remove(number)
                if not unmet[id(part)]:
                    waiting.append(part)
    return bool(unmet[id(schema)]) if isinstance(schema, dict) else schema is False


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


def _needs(part: dict[str, Any], target: Callable[[str], Any]) -> list[list[Any]]:
    """Groups of schemas; a schema has a value only if in each group at least one has."""
    needs = [[each] for each in _listed(part, "allOf")]
    needs += [several for key in ("anyOf", "oneOf") if (several := _listed(part, key))]
    reference = part.get("$ref")
    if isinstance(reference, str) and (found := target(reference)) is not None:
        needs.append([found])
    kinds, typed = part.get("type"), {"object": _object_needs, "array": _array_needs}
    if isinstance(kinds, str):
        return needs + (typed[kinds](part) if kinds in typed else [])
    if isinstance(kinds, list) and all(isinstance(kind, str) and kind in typed for kind in kinds):
        alone = {key: value for key, value in part.items() if key in _OF_A_TYPE}
        needs.append([alone | {"type": kind} for kind in dict.fromkeys(kinds)])
    return needs


def _object_needs(part: dict[str, Any]) -> list[list[Any]]:
    properties, required = part.get("properties", {}), part.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return []
    others = True if "patternProperties" in part else part.get("additionalProperties", True)
    needs = [[properties.get(name, others)] for name in required if isinstance(name, str)]
    return needs + [[*properties.values(), others]] * _is_positive(part.get("minProperties"))


def _array_needs(part: dict[str, Any]) -> list[list[Any]]:
    first, fewest = part.get("prefixItems", []), part.get("minItems", 0)
    if not isinstance(first, list) or not isinstance(fewest, int):
        return []
    needed = first[:fewest] + [part.get("items", True)] * (fewest > len(first))
    return [[each] for each in needed]


def _listed(part: dict[str, Any], key: str) -> list[Any]:
    found = part.get(key)
    return found if isinstance(found, list) else []


def _is_positive(count: Any) -> bool:
    return isinstance(count, int) and count > 0
