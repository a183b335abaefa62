"""What is accepted, and how much at the same time."""

import asyncio
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem
from kebyt5.serving.schemas import ModelRequest

LONGEST_WAIT = 60
"""Seconds that a client is asked to wait, at most."""

_RATE = 0.1  # how fast the mean time of a text forgets


class Places:
    """The places of a model's texts, those that are decoded and those that wait.

    They may be taken in any thread.

    Args:
        slots: Texts that are decoded at the same time.
        total: Places in all.
    """

    def __init__(self, slots: int, total: int) -> None:
        self.total = total
        self.taken = 0
        self._slots = slots
        self._changing = threading.Lock()
        self._seconds = 1.0  # from admission to answer, the mean

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Holds some places as long as the block runs.

        Raises:
            Problem: 429, where there are not as many.
        """
        with self._changing:
            if refusal := self.refusal(count):
                raise refusal
            self.taken += count
        began = time.monotonic()
        try:
            yield
            self._seconds += _RATE * (time.monotonic() - began - self._seconds)
        finally:
            with self._changing:
                self.taken -= count

    def refusal(self, count: int = 1) -> Problem | None:
        """Why there are not so many places, where there are not."""
        if self.taken + count <= self.total:
            return None
        return Problem(
            429,
            f"{self.taken} of {self.total} places are taken; try again in {self.wait} s",
            {"Retry-After": str(self.wait)},
        )

    @property
    def waiting(self) -> int:
        """Texts that are accepted and not being decoded."""
        return max(0, self.taken - self._slots)

    @property
    def wait(self) -> int:
        """Seconds in which the texts that wait are worked off, about."""
        seconds = self._seconds * self.waiting / self.total
        return min(LONGEST_WAIT, max(1, math.ceil(seconds)))


class Admission:
    """Lets in what is within the limits of a model.

    Args:
        options: The limits.

    Attributes:
        places: Those of accepted texts, and how many of them are in use.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.places = Places(options.slots, options.places)
        self._options = options

    @contextmanager
    def admit(
        self, request: ModelRequest, inputs: Sequence[str], texts: int | None = None
    ) -> Iterator[float]:
        """Holds places for a request that is within the limits; yields when it has to be done.

        Args:
            request: What is asked.
            inputs: What the model reads, each of which takes a place.
            texts: In the request; as many as inputs where it is None.

        Raises:
            Problem: Of too many texts, too long ones, or because all places are taken.
        """
        limit = self._options.max_texts
        if (texts or len(inputs)) > limit:
            raise Problem(422, f"{texts or len(inputs)} texts; send {limit} a request at most")
        if texts is None:
            for input in inputs:
                self.check_size([input])
        if len(inputs) > self.places.total:
            raise Problem(
                422,
                f"the inputs are read in {len(inputs)} windows, more than the"
                f" {self.places.total} there is room for; send fewer or shorter ones",
            )
        with self.places.take(len(inputs)):
            seconds = self._options.seconds_for(request.deadline)
            yield asyncio.get_running_loop().time() + seconds

    def check_size(self, texts: Iterable[str]) -> None:
        """Refuses texts that together are too long for one input."""
        size, limit = sum(len(text.encode()) for text in texts), self._options.max_input_bytes
        if size > limit:
            raise Problem(422, f"an input of {size} bytes; send {limit} bytes at most, or in parts")

    def check_new_bytes(self, size: int, field: str) -> None:
        """Refuses to write, or to judge, as much as a field asks for."""
        limit = self._options.max_new_bytes
        if size > limit:
            raise Problem(422, f"{field}: {size} bytes; ask for {limit} bytes at most")


__all__ = ["Admission", "Places"]
