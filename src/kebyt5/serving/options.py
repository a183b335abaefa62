"""How a server behaves; each field's docstring is its help on the command line."""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from cyclopts.types import PositiveFloat, PositiveInt

from kebyt5.errors import InputError

_SLACK = 10.0
"""Seconds beyond the longest deadline, for responses on their way."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Settings of a server."""

    slots: PositiveInt = 32
    """Texts of a model that are decoded at the same time."""

    queue: PositiveInt = 96
    """Texts of a model that may wait; what would go beyond is refused with 429."""

    deadline: PositiveFloat = 60.0
    """Seconds that a request has, unless it asks for less."""

    max_body_bytes: PositiveInt = 1_048_576
    """Of a request; more is refused with 413 before it is read."""

    max_texts: PositiveInt = 64
    """In one request."""

    max_input_bytes: PositiveInt = 16_384
    """Of one text, or of all fields of a task's input together."""

    max_new_bytes: PositiveInt = 4_096
    """That one text may be generated in."""

    body_seconds: PositiveFloat = 20.0
    """In which a request has to arrive, its head and its body each, and its client has to take what
    waits for it; else its connection ends."""

    api_keys: Path | None = None
    """A file with an API key a line, one of which every request to /v1 has to bring; blank lines
    and those that begin with # are skipped. Without it everybody may ask."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not 0 < value < math.inf:
                option = f"--{each.name.replace('_', '-')}"
                raise InputError(f"{option} {value}: has to be above 0 and finite")
        if self.max_texts > self.places:
            raise InputError(
                f"--max-texts {self.max_texts}: more than --slots and --queue together"
                f" ({self.places}) would never be accepted; lower it, or raise --queue"
            )

    @property
    def places(self) -> int:
        """Texts of a model that are accepted and not answered yet, at most."""
        return self.slots + self.queue

    def seconds_for(self, asked: float | None) -> float:
        """That a request has to be done in.

        Args:
            asked: The seconds that it names itself, None where it names none.
        """
        return self.deadline if asked is None else min(asked, self.deadline)

    @property
    def drain_seconds(self) -> float:
        """After which a server that stops does not wait any more, though nothing should be left."""
        return self.body_seconds + self.deadline + _SLACK

    def read_api_keys(self) -> list[str]:
        """The keys in the file, none where there is no file.

        Raises:
            InputError: The file cannot be read, or holds no key, or one that no header can carry.
        """
        if self.api_keys is None:
            return []
        try:
            lines = self.api_keys.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.api_keys}: cannot be read as text: {error}") from error
        keys = []
        for number, line in enumerate(lines, 1):
            key = line.strip()
            if key and not key.startswith("#"):
                if not key.isascii() or " " in key:
                    raise InputError(
                        f"{self.api_keys}:{number}: a key is ASCII without blanks; mend this line"
                    )
                keys.append(key)
        if not keys:
            raise InputError(f"{self.api_keys}: holds no key; write one a line")
        return keys


__all__ = ["ServeOptions"]
