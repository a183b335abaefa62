"""Drafts of the next bytes: most outputs of a byte model repeat their input, or themselves.

A guess is verified in one pass of the decoder, so a wrong one costs time but never changes the
output. Whether guessing pays is learned on the fly: for each kind of guess the draft tracks the
mean number of bytes that were right.
"""

from dataclasses import dataclass
from typing import NamedTuple

from kebyt5.generation.constraints.constraint import MAX_GUESS
from kebyt5.models.tokenization_kebyt5 import LAST_BYTE, OFFSET

LENGTHS = (3, 7, 15, MAX_GUESS)
"""Bytes in a guess: with the byte before it, row counts at which matrix products are fast."""

_MATCHES = (32, 16, 8, 5, 3)
"""Lengths of the output's last bytes to search for in the input, longest first; 3 bytes are one
syllable."""

_REPEATS = (8, 4, 2)
"""Lengths of the output's last bytes to search for earlier in the output, longest first."""

_PRIOR = {"expected": 24.0, "resumed": 6.0, "opening": 8.0}
_PRIOR |= {f"input {length}": 0.6 * length for length in _MATCHES}
_PRIOR |= {f"output {length}": 0.6 * length for length in _REPEATS}
_RATE = 0.4  # how fast a mean forgets
_HABIT_RATE = 0.05  # how fast the mean of all requests forgets
_RECOVERY = 1.02  # factor by which a mean grows whenever its guess is not worth making
_MARKS = b"<>"  # an inserted mark ends with one of these, after which copying goes on
_OPENING = 8  # bytes that identify where outputs begin to copy
_NOT_TEXT = 0xFF  # in place of ids that are not bytes


class Price(NamedTuple):
    """The cost of more rows in a pass, in bytes that could be generated in the same time.

    Measured on two cores: up to four rows cost as much as one, each further row adds 6.5 % of
    that, and the attention of each request 4.5 %.

    Attributes:
        row: Cost of a row.
        free: Rows of a guess that cost nothing.
    """

    row: float
    free: int

    @classmethod
    def beside(cls, requests: int) -> "Price":
        """The price in a pass of that many requests."""
        time = 1 + 0.065 * max(0, requests - 4) + 0.045 * requests
        return cls(0.065 * requests / time, max(0, 4 - requests))

    def gain(self, mean: float, length: int) -> float:
        """Expected bytes gained by guessing `length` bytes, minus their price.

        Args:
            mean: Bytes that would be right on average if the guess were endless.
            length: Bytes in the guess.
        """
        goes_on = mean / (1 + mean)
        return mean * (1 - goes_on**length) - self.row * max(0, length - self.free)


@dataclass
class _Guess:
    kind: str
    bytes: bytes
    at: int | None = None  # where it begins in the source, if it is copied from there


class Habits:
    """Guessing statistics that the requests of an engine share.

    Attributes:
        means: For each kind of guess, the mean number of bytes that were right.
        opening: The last bytes of the prompt before the text that outputs copy.
    """

    def __init__(self) -> None:
        self.means = dict(_PRIOR)
        self.opening = b""


class CopyDraft:
    """Makes the guesses for one request and learns from their success.

    Args:
        source: Ids of the input.
        habits: What earlier requests had in common; updated with this one.
    """

    def __init__(self, source: list[int], habits: Habits) -> None:
        self._source = _as_bytes(source)
        self._output = bytearray()
        self._habits = habits
        self._means = dict(habits.means)
        self._guess: _Guess | None = None
        self._place: int | None = None  # in the source, after what was copied last
        opening = self._source.find(habits.opening) if habits.opening else -1
        if opening >= 0:
            self._place = opening + len(habits.opening)

    def extend(self, ids: list[int]) -> None:
        """Adds generated ids to the output to guess from."""
        before = len(self._output)
        self._output += _as_bytes(ids)
        if before < _OPENING <= len(self._output):
            at = self._source.find(self._output[:_OPENING].lstrip(_MARKS))
            if at >= _OPENING:
                self._habits.opening = self._source[at - _OPENING : at]

    def propose(self, expected: list[int], price: Price) -> list[int]:
        """Guesses at the ids to come.

        Args:
            expected: Ids that the constraint expects; they replace all other guesses.
            price: Price of a guess.

        Returns:
            At most `MAX_GUESS` ids; none if guessing does not pay.
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
        """Updates the means: `accepted` of the `proposed` ids of the last guess were right."""
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
        """Copies the source from where outputs usually begin to copy."""
        if self._place is None or self._output:
            return None
        return self._copy("opening", self._place)

    def _match(self) -> _Guess | None:
        """Copies what follows the output's last bytes in the input, first after the last copy."""
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
        """Copies the source after the last copy, if a mark has just been inserted."""
        if self._place is None or not self._output or self._output[-1] not in _MARKS:
            return None
        return self._copy("resumed", self._place)

    def _repeat(self) -> _Guess | None:
        """Repeats what followed the output's last bytes where they occurred before."""
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
