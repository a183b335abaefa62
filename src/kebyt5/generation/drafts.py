"""Guesses at the bytes to come: most outputs of a byte model repeat their input, or themselves.

A guess is verified in one pass of the decoder, so a wrong one costs time but never changes the
output. Whether guessing pays is learnt as it goes: for each kind of guess the draft keeps the mean
number of bytes that were right.
"""

from dataclasses import dataclass
from typing import NamedTuple

from kebyt5.generation.constraints.constraint import MAX_GUESS
from kebyt5.models.tokenization_kebyt5 import LAST_BYTE, OFFSET

LENGTHS = (3, 7, 15, MAX_GUESS)
"""Bytes in a guess: with the byte before it, they make up as many rows as products like."""

_MATCHES = (32, 16, 8, 5, 3)
"""Lengths of the output's end that is looked for in the input, longest first; 3 bytes are one
syllable."""

_REPEATS = (8, 4, 2)
"""And those that are looked for in the output before."""

_PRIOR = {"expected": 24.0, "resumed": 6.0, "opening": 8.0}
_PRIOR |= {f"input {length}": 0.6 * length for length in _MATCHES}
_PRIOR |= {f"output {length}": 0.6 * length for length in _REPEATS}
_RATE = 0.4  # how fast a mean forgets
_HABIT_RATE = 0.05  # and how fast that of all requests
_RECOVERY = 1.02  # by which a mean grows each time its guess was not worth making
_MARKS = b"<>"  # an inserted mark ends with one of these; the copy goes on behind it
_OPENING = 8  # bytes that tell where outputs begin to copy
_NOT_TEXT = 0xFF  # stands for ids that are no byte


class Price(NamedTuple):
    """What it costs to look at more rows in a pass, in the bytes that the time is worth.

    Measured on two cores: up to four rows cost as much as one, every further one adds 6.5 % of
    that, and the attention of every request 4.5 %.
    """

    row: float
    free: int

    @classmethod
    def beside(cls, requests: int) -> "Price":
        """The price in a pass in which so many requests take part."""
        time = 1 + 0.065 * max(0, requests - 4) + 0.045 * requests
        return cls(0.065 * requests / time, max(0, 4 - requests))

    def gain(self, mean: float, length: int) -> float:
        """The bytes to be had by guessing so many, less the price.

        Args:
            mean: Bytes that would be right, were the guess endless.
            length: Of the guess.
        """
        goes_on = mean / (1 + mean)
        return mean * (1 - goes_on**length) - self.row * max(0, length - self.free)


@dataclass
class _Guess:
    kind: str
    bytes: bytes
    at: int | None = None  # where in the source it begins


class Habits:
    """What outputs have had in common so far; the requests of an engine share it.

    Attributes:
        means: For each kind of guess, the mean number of bytes that were right.
        opening: The end of the prompt, behind which outputs begin to copy.
    """

    def __init__(self) -> None:
        self.means = dict(_PRIOR)
        self.opening = b""


class CopyDraft:
    """The guesses for one request.

    Args:
        source: Ids of the input.
        habits: Of the requests before.
    """

    def __init__(self, source: list[int], habits: Habits) -> None:
        self._source = _as_bytes(source)
        self._output = bytearray()
        self._habits = habits
        self._means = dict(habits.means)
        self._guess: _Guess | None = None
        self._place: int | None = None  # in the source, behind what was copied last
        opening = self._source.find(habits.opening) if habits.opening else -1
        if opening >= 0:
            self._place = opening + len(habits.opening)

    def extend(self, ids: list[int]) -> None:
        """Tells what was generated."""
        before = len(self._output)
        self._output += _as_bytes(ids)
        if before < _OPENING <= len(self._output):
            at = self._source.find(self._output[:_OPENING].lstrip(_MARKS))
            if at >= _OPENING:
                self._habits.opening = self._source[at - _OPENING : at]

    def propose(self, expected: list[int], price: Price) -> list[int]:
        """Guesses at the ids to come.

        Args:
            expected: What the constraint takes for likely.
            price: Of a guess.

        Returns:
            At most `MAX_GUESS` ids, none where guessing does not pay.
        """
        guesses = [self._open(), self._match(), self._resume(), self._repeat()]
        if expected:
            guesses = [_Guess("expected", _as_bytes(expected[:MAX_GUESS]))]
        found = [guess for guess in guesses if guess and guess.bytes]
        self._guess = max(found, key=lambda guess: self._means[guess.kind], default=None)
        if self._guess is None:
            return []
        mean = self._means[self._guess.kind]
        gain, length = max((price.gain(mean, length), length) for length in LENGTHS)
        if gain <= 0:
            self._means[self._guess.kind] = mean * _RECOVERY
            self._guess = None
            return []
        return [byte + OFFSET for byte in self._guess.bytes[:length]]

    def learn(self, proposed: int, accepted: int) -> None:
        """Tells how many ids of the last guess were tried, and how many of them were right."""
        guess, self._guess = self._guess, None
        if guess is None or proposed == 0:
            return
        # Had the guess been longer, more of it might have been right.
        worth = accepted if accepted < proposed else 2 * accepted
        mean = self._means[guess.kind]
        self._means[guess.kind] = mean + _RATE * (worth - mean)
        habit = self._habits.means[guess.kind]
        self._habits.means[guess.kind] = habit + _HABIT_RATE * (worth - habit)
        if guess.at is not None:
            self._place = guess.at + accepted

    def _open(self) -> _Guess | None:
        """The source from where outputs begin to copy."""
        if self._place is None or self._output:
            return None
        return self._copy("opening", self._place)

    def _match(self) -> _Guess | None:
        """What follows the longest end of the output in the input, behind the last copy first."""
        for length in _MATCHES:
            end = bytes(self._output[-length:])
            if len(end) < length:
                continue
            at = self._source.find(end, max(0, (self._place or 0) - length))
            if at < 0:
                at = self._source.find(end)
            if at >= 0:
                return self._copy(f"input {length}", at + length)
        return None

    def _resume(self) -> _Guess | None:
        """The source behind the last copy, where a mark has just been inserted."""
        if self._place is None or not self._output or self._output[-1] not in _MARKS:
            return None
        return self._copy("resumed", self._place)

    def _repeat(self) -> _Guess | None:
        """What followed when the output last ended like this."""
        for length in _REPEATS:
            end = bytes(self._output[-length:])
            at = self._output.rfind(end, 0, len(self._output) - 1)
            if len(end) == length and at >= 0:
                text = bytes(self._output[at + length : at + length + MAX_GUESS])
                return _Guess(f"output {length}", text)
        return None

    def _copy(self, kind: str, at: int) -> _Guess:
        text = self._source[at : at + MAX_GUESS]
        return _Guess(kind, text.partition(bytes([_NOT_TEXT]))[0], at)


def _as_bytes(ids: list[int]) -> bytes:
    return bytes(i - OFFSET if OFFSET <= i < LAST_BYTE else _NOT_TEXT for i in ids)


__all__ = ["CopyDraft", "Habits", "Price"]
