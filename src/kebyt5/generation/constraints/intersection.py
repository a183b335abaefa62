"""The intersection of two constraints."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kebyt5.generation.constraints.constraint import Constraint


class Intersection(Constraint):
    """Allows what two constraints both allow; `a & b` makes one.

    A byte that both allow may lead to a state in which they have no id in common. Such dead ends
    are not looked for in advance; generation that reaches one ends with an error.

    Args:
        first: Constraint whose expectations come first as drafts.
        second: Any other constraint.
    """

    def __init__(self, first: Constraint, second: Constraint) -> None:
        self._parts = (first, second)

    def start(self) -> tuple[Any, Any]:
        """The pair of both start states."""
        first, second = self._parts
        return first.start(), second.start()

    def allowed(self, state: tuple[Any, Any]) -> np.ndarray:
        """The ids that both allow."""
        first, second = self._parts
        return first.allowed(state[0]) & second.allowed(state[1])

    def advance(self, state: tuple[Any, Any], byte_id: int) -> tuple[Any, Any]:
        """The pair of states after one more id."""
        first, second = self._parts
        return first.advance(state[0], byte_id), second.advance(state[1], byte_id)

    def likely(self, state: tuple[Any, Any]) -> Sequence[int]:
        """What the first constraint expects; if nothing, what the second does."""
        first, second = self._parts
        return first.likely(state[0]) or second.likely(state[1])
