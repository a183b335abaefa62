"""Admission control: which requests are accepted, and how many at the same time."""

import asyncio
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem

MAX_WAIT = 60
"""Longest time, in seconds, that a client is asked to wait before it retries."""

_RATE = 0.1  # weight of the latest text in the moving average of seconds per text


class Places:
    """Counts the places of a model's texts, both those being decoded and those waiting.

    Thread-safe.

    Args:
        slots: Number of texts decoded at the same time.
        total: Number of places in all, decoded and waiting.
    """

    def __init__(self, slots: int, total: int) -> None:
        self.total = total
        self.taken = 0
        self._slots = slots
        self._changing = threading.Lock()
        self._seconds = 1.0  # moving average of the time from admission to answer

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Holds `count` places for the duration of the block.

        Raises:
            Problem: With status 429, if fewer places are free.
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
        """Returns the problem to refuse `count` more texts with; None if there is room for them."""
        if self.taken + count <= self.total:
            return None
        return Problem(
            429,
            f"{self.taken} of {self.total} places are taken; try again in {self.wait} s",
            {"Retry-After": str(self.wait)},
        )

    @property
    def waiting(self) -> int:
        """Number of accepted texts that are not being decoded yet."""
        return max(0, self.taken - self._slots)

    @property
    def wait(self) -> int:
        """Estimated seconds until the waiting texts are done."""
        seconds = self._seconds * self.waiting / self.total
        return min(MAX_WAIT, max(1, math.ceil(seconds)))


class Admission:
    """Admits requests that are within the limits of a model.

    Args:
        options: The limits.

    Attributes:
        places: The places for accepted texts.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.places = Places(options.slots, options.places)
        self._options = options

    @contextmanager
    def admit(self, inputs: Sequence[str], deadline: float | None) -> Iterator[float]:
        """Holds places for a request if its texts are within the limits.

        Args:
            inputs: Its texts, each of which takes a place.
            deadline: The seconds that the request allows; may shorten the server's own limit.

        Yields:
            The time on the event loop's clock by which the request has to be done.

        Raises:
            Problem: There are too many texts, a text is too long, or too few places are free.
        """
        self.check_count(len(inputs))
        for input in inputs:
            self.check_size([input])
        with self.hold(len(inputs), deadline) as due:
            yield due

    @contextmanager
    def hold(self, places: int, deadline: float | None) -> Iterator[float]:
        """Holds places for a request whose texts were checked.

        Args:
            places: Number of texts that the model will read; long ones are read in windows.
            deadline: The seconds that the request allows; may shorten the server's own limit.

        Yields:
            The time on the event loop's clock by which the request has to be done.

        Raises:
            Problem: Fewer places are free, or there are fewer in all.
        """
        if places > self.places.total:
            raise Problem(
                422,
                f"the inputs are read in {places} windows, more than the"
                f" {self.places.total} there is room for; send fewer or shorter ones",
            )
        with self.places.take(places):
            seconds = self._options.seconds_for(deadline)
            yield asyncio.get_running_loop().time() + seconds

    def check_count(self, texts: int) -> None:
        """Refuses more texts than a request may have.

        Raises:
            Problem: With status 422.
        """
        limit = self._options.max_texts
        if texts > limit:
            raise Problem(422, f"{texts} texts; send at most {limit} in one request")

    def check_size(self, texts: Iterable[str]) -> None:
        """Refuses texts that, taken together, are too long for one input.

        Raises:
            Problem: With status 422.
        """
        size, limit = sum(len(text.encode()) for text in texts), self._options.max_input_bytes
        if size > limit:
            raise Problem(
                422, f"an input has {size} bytes; send at most {limit}, or divide it into parts"
            )

    def check_new_bytes(self, size: int, field: str) -> None:
        """Refuses to generate or score more bytes than the limit.

        Args:
            size: Number of bytes asked for.
            field: Name of the field that asks for them, for the message.

        Raises:
            Problem: With status 422.
        """
        limit = self._options.max_new_bytes
        if size > limit:
            raise Problem(422, f"{field}: {size} bytes; ask for at most {limit}")
