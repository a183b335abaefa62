"""How much is accepted at the same time."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kebyt5.serving.problems import Problem

LONGEST_WAIT = 60
"""Seconds that a client is asked to wait, at most."""

_RATE = 0.1  # how fast the mean time of a text forgets


class Places:
    """The places of a model's texts, those that are decoded and those that wait.

    Args:
        slots: Texts that are decoded at the same time.
        total: Places in all.
    """

    def __init__(self, slots: int, total: int) -> None:
        self.total = total
        self.taken = 0
        self._slots = slots
        self._seconds = 1.0  # from admission to answer, the mean

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Holds some places as long as the block runs.

        Raises:
            Problem: 429, where there are not as many.
        """
        if self.taken + count > self.total:
            raise Problem(
                429,
                f"{self.taken} of {self.total} places are taken; try again in {self.wait} s",
                {"Retry-After": str(self.wait)},
            )
        self.taken += count
        began = time.monotonic()
        try:
            yield
            self._seconds += _RATE * (time.monotonic() - began - self._seconds)
        finally:
            self.taken -= count

    @property
    def waiting(self) -> int:
        """Texts that are accepted and not being decoded."""
        return max(0, self.taken - self._slots)

    @property
    def wait(self) -> int:
        """Seconds in which the texts that wait are worked off, about."""
        seconds = self._seconds * self.waiting / self.total
        return min(LONGEST_WAIT, max(1, math.ceil(seconds)))


__all__ = ["Places"]
