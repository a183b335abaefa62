"""Validating settings from files into dataclasses; needs pydantic, which several extras bring."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pydantic

from kebyt5.errors import InputError

STRICT = pydantic.ConfigDict(extra="forbid")
"""For `__pydantic_config__`: refuses unknown options instead of ignoring them."""


def validated(kind: Any, content: Any, place: str, also: Sequence[str] = ()) -> Any:
    """Builds a dataclass from a mapping, checking every value against the type of its field.

    Args:
        kind: The dataclass.
        content: The mapping, for example the content of a YAML file.
        place: Where the mapping comes from, for messages.
        also: Names of further valid options that are validated elsewhere, for messages.

    Raises:
        InputError: An option is missing, unknown or of another type, or the dataclass refuses it.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            inner = _inner(kind, first["loc"][:-1])
            names = [*(also if inner is kind else ()), *(item.name for item in fields(inner))]
            known = ", ".join(names)
            raise InputError(f"{place}: unknown option {where!r}; known: {known}") from error
        cause = first["msg"].removeprefix("Value error, ")
        raise InputError(": ".join(filter(None, (place, where, cause)))) from error


def _inner(kind: Any, path: Sequence[int | str]) -> Any:
    """Follows a path of fields to the innermost dataclass on it."""
    for name in path:
        found = get_type_hints(kind).get(str(name))
        if not is_dataclass(found):
            return kind
        kind = found
    return kind
