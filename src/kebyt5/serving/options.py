"""Settings of a server; each field's docstring is its help on the command line."""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from cyclopts.types import NonNegativeFloat, PositiveFloat, PositiveInt

from kebyt5.errors import InputError, option

_SLACK = 10.0
"""Seconds beyond the longest deadline for responses to be delivered."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Settings of a server."""

    slots: PositiveInt = 32
    """Texts of a model that are decoded at the same time."""

    queue: PositiveInt = 96
    """Texts of a model that may wait; requests beyond that are refused with 429."""

    deadline: PositiveFloat = 60.0
    """Seconds within which a request has to be done, unless it asks for less."""

    max_body_bytes: PositiveInt = 1_048_576
    """Largest request body; larger ones are refused with 413 before they are read."""

    max_texts: PositiveInt = 64
    """Most texts in one request."""

    max_input_bytes: PositiveInt = 16_384
    """Most bytes in one text, or in all fields of a task's input together."""

    max_new_bytes: PositiveInt = 4_096
    """Most bytes generated for one text."""

    body_seconds: PositiveFloat = 20.0
    """Seconds allowed for receiving a request's head and its body, each, and for a client to read
    pending output; then the connection is closed."""

    lame_duck_seconds: NonNegativeFloat = 0.0
    """Seconds after SIGTERM for which requests are still accepted, while `/readyz` answers 503 so
    that a load balancer sends them elsewhere."""

    api_keys: Path | None = None
    """File with one API key per line, one of which every request to /v1 has to send; blank lines
    and lines that begin with # are skipped. Without it no key is needed."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "lame_duck_seconds" and value == 0:
                continue
            if isinstance(value, int | float) and not 0 < value < math.inf:
                raise InputError(f"{option(each.name)} {value}: has to be above 0 and finite")
        if self.max_texts > self.places:
            raise InputError(
                f"--max-texts {self.max_texts}: more than --slots and --queue together"
                f" ({self.places}) would never be accepted; lower it, or raise --queue"
            )

    @property
    def places(self) -> int:
        """Largest number of texts of a model that are accepted and not yet answered."""
        return self.slots + self.queue

    def seconds_for(self, asked: float | None) -> float:
        """Returns the seconds within which a request has to be done.

        Args:
            asked: The deadline that the request itself names; None if it names none.
        """
        return self.deadline if asked is None else min(asked, self.deadline)

    @property
    def drain_seconds(self) -> float:
        """Longest time, in seconds, that a stopping server waits for responses to finish."""
        return self.body_seconds + self.deadline + _SLACK

    def read_api_keys(self) -> list[str]:
        """Reads the keys from `api_keys`; without a file there are none.

        Raises:
            InputError: The file cannot be read, contains no key, or a key that does not fit in a
                header.
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
                        f"{self.api_keys}:{number}: a key is ASCII without blanks; fix this line"
                    )
                keys.append(key)
        if not keys:
            raise InputError(f"{self.api_keys}: contains no key; write one per line")
        return keys


__all__ = ["ServeOptions"]
