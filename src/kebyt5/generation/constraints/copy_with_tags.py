"""A constraint that allows copying a text with spans marked as `<span:TAG>`."""

from collections.abc import Sequence

import numpy as np

from kebyt5.generation.constraints.constraint import MAX_GUESS, Constraint, byte_ids
from kebyt5.models.tokenization_kebyt5 import EOS, OFFSET, VOCABULARY

_OUTSIDE, _OPENED, _INSIDE = -3, -2, -1
_OPEN = ord("<") + OFFSET

Place = tuple[int, int, int]
"""Bytes copied; outside, opened, inside or the number of the tag being written; and how many of its
bytes are written."""

State = frozenset[Place]
"""All readings of the output so far: a `<` or `:` may be a mark or part of the source."""


class CopyWithTags(Constraint):
    """Allows the source with marks around spans of whole characters, neither empty nor nested.

    Args:
        source: The text to copy, as in the model's input.
        tags: Allowed tags, the likeliest first.
        endings: For each tag, characters with which its spans often end, for drafts.

    Raises:
        ValueError: There is no tag.
    """

    def __init__(self, source: str, tags: Sequence[str], endings: Sequence[str] = ()) -> None:
        if not tags or isinstance(tags, str):
            raise ValueError("copying with tags needs a list of at least one tag")
        self._source = byte_ids(source)
        # A byte 10xxxxxx continues a character.
        self._begins = [(i - OFFSET) & 0xC0 != 0x80 for i in self._source] + [True]
        self._closes = [byte_ids(f":{tag}>") for tag in tags]
        self._tag_of = {last: tag for tag, every in enumerate(endings) for last in every}

    def start(self) -> State:
        """The state before anything is copied, outside any span."""
        return frozenset({(0, _OUTSIDE, 0)})

    def allowed(self, state: State) -> np.ndarray:
        """The next byte of the source, and the marks that may follow here."""
        mask = np.zeros(VOCABULARY, bool)
        for place in state:
            mask[[byte_id for byte_id, _ in self._steps(place)]] = True
        return mask

    def advance(self, state: State, byte_id: int) -> State:
        """The readings that allow one more id, each advanced by it."""
        return frozenset(
            after for place in state for step, after in self._steps(place) if step == byte_id
        )

    def likely(self, state: State) -> Sequence[int]:
        """The rest of the tag being written, if any, then the rest of the source."""
        copying = [copied for copied, where, _ in state if where <= _INSIDE]
        if copying:
            copied = max(copying)
            return self._source[copied : copied + MAX_GUESS]
        copied, tag, written = min(state)
        if written == 1:
            tag = self._tag_of.get(self._character_before(copied), 0)
        return self._closes[tag][written:] + self._source[copied : copied + MAX_GUESS]

    def _character_before(self, copied: int) -> str:
        last = bytes(byte_id - OFFSET for byte_id in self._source[max(0, copied - 4) : copied])
        return last.decode(errors="ignore")[-1:]

    def _steps(self, place: Place) -> list[tuple[int, Place]]:
        copied, where, written = place
        if where > _INSIDE:
            close = self._closes[where]
            done = written + 1 == len(close)
            after = (copied, _OUTSIDE, 0) if done else (copied, where, written + 1)
            return [(close[written], after)]
        steps: list[tuple[int, Place]] = []
        at_end = copied == len(self._source)
        if not at_end:
            after_copy = _OUTSIDE if where == _OUTSIDE else _INSIDE
            steps.append((self._source[copied], (copied + 1, after_copy, 0)))
        if self._begins[copied]:
            if where == _OUTSIDE:
                steps.append((EOS, place) if at_end else (_OPEN, (copied, _OPENED, 0)))
            elif where == _INSIDE:
                steps += [(close[0], (copied, tag, 1)) for tag, close in enumerate(self._closes)]
        return steps
