"""Settings from files, as dataclasses; needs pydantic, which the extras that read any bring."""

from dataclasses import fields
from typing import Any

import pydantic

from kebyt5.errors import InputError

STRICT = pydantic.ConfigDict(extra="forbid")
"""For `__pydantic_config__`: options that are unknown are refused instead of ignored."""


def validated(kind: Any, content: Any, place: str) -> Any:
    """Makes a dataclass of a mapping, of which every value has to have the type of its field.

    Args:
        kind: The dataclass.
        content: What a YAML file holds, for example.
        place: Where it stands, for messages.

    Raises:
        InputError: An option is missing, unknown or of another type, or the dataclass refuses it.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = ", ".join(item.name for item in fields(kind))
            raise InputError(f"{place}: unknown option {where!r}; known: {known}") from error
        cause = first["msg"].removeprefix("Value error, ")
        raise InputError(": ".join(filter(None, (place, where, cause)))) from error


__all__ = ["STRICT", "validated"]
