"""Guesses at the bytes to come: most outputs of a byte model repeat their input, or themselves.

A guess is verified in one pass of the decoder, so a wrong one costs time but never changes the
output. Whether guessing pays is learnt as it goes: for each kind of guess the draft keeps the mean
number of bytes that were right.
"""

from dataclasses import dataclass

from kebyt5.generation.constraints.constraint import OFFSET

LONGEST = 32
"""Bytes in a guess. A decoder pass over 32 rows takes little longer than one over 4."""

_MATCHES = (32, 16, 8, 5, 3)
"""Lengths of the output's end that is looked for, longest first; 3 bytes are one syllable."""

_PRIOR = {"expected": 24.0, "resumed": 6.0}
_RATE = 0.4  # how fast a mean forgets
_RECOVERY = 1.02  # by which a mean grows each time its guess was not worth making
_MARKS = b"<>"  # an inserted mark ends with one of these; the copy goes on behind it
_NOT_TEXT = 0xFF  # stands for ids that are no byte


@dataclass
class _Guess:
    kind: str
    bytes: bytes
    at: int | None = None  # where in the source it begins


class CopyDraft:
    """The guesses for one request.

    Args:
        source: Ids of the input.
    """

    def __init__(self, source: list[int]) -> None:
        self._source = _as_bytes(source)
        self._output = bytearray()
        self._place: int | None = None  # in the source, behind what was copied last
        self._means = dict(_PRIOR)
        self._guess: _Guess | None = None

    def extend(self, ids: list[int]) -> None:
        """Tells what was generated."""
        self._output += _as_bytes(ids)

    def propose(self, expected: list[int], break_even: float) -> list[int]:
        """Guesses at the ids to come.

        Args:
            expected: What the constraint takes for likely.
            break_even: How many bytes have to be right for a guess to save time.

        Returns:
            At most `LONGEST` ids, none where guessing does not pay.
        """
        guesses = [self._match(), self._resume(), self._repeat()]
        if expected:
            guesses = [_Guess("expected", _as_bytes(expected[:LONGEST]))]
        found = [guess for guess in guesses if guess and guess.bytes]
        self._guess = max(found, key=lambda guess: self._mean(guess.kind), default=None)
        if self._guess is None:
            return []
        mean = self._mean(self._guess.kind)
        if mean < break_even:
            self._means[self._guess.kind] = mean * _RECOVERY
            self._guess = None
            return []
        length = min(LONGEST, int(2 * mean) + 2)
        return [byte + OFFSET for byte in self._guess.bytes[:length]]

    def learn(self, proposed: int, accepted: int) -> None:
        """Tells how many ids of the last guess were tried, and how many of them were right."""
        guess, self._guess = self._guess, None
        if guess is None or proposed == 0:
            return
        # Had the guess been longer, more of it might have been right.
        worth = accepted if accepted < proposed else 2 * accepted
        mean = self._mean(guess.kind)
        self._means[guess.kind] = mean + _RATE * (min(worth, LONGEST) - mean)
        if guess.at is not None:
            self._place = guess.at + accepted

    def _mean(self, kind: str) -> float:
        return self._means.get(kind, 2.0)

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
        for length in (8, 4, 2):
            end = bytes(self._output[-length:])
            at = self._output.rfind(end, 0, len(self._output) - 1)
            if len(end) == length and at >= 0:
                text = bytes(self._output[at + length : at + length + LONGEST])
                return _Guess(f"output {length}", text)
        return None

    def _copy(self, kind: str, at: int) -> _Guess:
        text = self._source[at : at + LONGEST]
        return _Guess(kind, text.partition(bytes([_NOT_TEXT]))[0], at)


def _as_bytes(ids: list[int]) -> bytes:
    return bytes(i - OFFSET if OFFSET <= i < OFFSET + 255 else _NOT_TEXT for i in ids)


__all__ = ["LONGEST", "CopyDraft"]
