"""A constraint to valid UTF-8, so that decoding never inserts U+FFFD."""

import numpy as np

from kebyt5.generation.constraints.constraint import Constraint, mask_of
from kebyt5.models.tokenization_kebyt5 import EOS, OFFSET

_BOUNDARY = "boundary"
# What may follow in each state: ranges of bytes, and the state after them. RFC 3629, section 4:
# no overlong form, no surrogate, nothing above U+10FFFF.
_TABLE: dict[str, list[tuple[int, int, str]]] = {
    _BOUNDARY: [
        (0x00, 0x7F, _BOUNDARY),
        (0xC2, 0xDF, "one"),
        (0xE0, 0xE0, "after E0"),
        (0xE1, 0xEC, "two"),
        (0xED, 0xED, "after ED"),
        (0xEE, 0xEF, "two"),
        (0xF0, 0xF0, "after F0"),
        (0xF1, 0xF3, "three"),
        (0xF4, 0xF4, "after F4"),
    ],
    "one": [(0x80, 0xBF, _BOUNDARY)],
    "two": [(0x80, 0xBF, "one")],
    "three": [(0x80, 0xBF, "two")],
    "after E0": [(0xA0, 0xBF, "one")],
    "after ED": [(0x80, 0x9F, "one")],
    "after F0": [(0x90, 0xBF, "two")],
    "after F4": [(0x80, 0x8F, "two")],
}


class UTF8(Constraint):
    """Allows any text of whole characters, then the end of sequence."""

    def __init__(self) -> None:
        self._next: dict[str, dict[int, str]] = {
            state: {
                byte + OFFSET: after
                for first, last, after in ranges
                for byte in range(first, last + 1)
            }
            for state, ranges in _TABLE.items()
        }
        self._next[_BOUNDARY][EOS] = _BOUNDARY
        self._allowed = {state: mask_of(list(ids)) for state, ids in self._next.items()}

    def start(self) -> str:
        """The state between characters."""
        return _BOUNDARY

    def allowed(self, state: str) -> np.ndarray:
        """The bytes that may continue valid UTF-8 and, between characters, the end of sequence."""
        return self._allowed[state]

    def advance(self, state: str, byte_id: int) -> str:
        """The state after one more id."""
        return self._next[state][byte_id]
