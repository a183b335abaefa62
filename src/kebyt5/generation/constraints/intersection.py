"""Two constraints at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kebyt5.generation.constraints.constraint import Constraint


class Intersection(Constraint):
    """What both of two constraints allow; `a & b` makes it.

    A byte that both allow may lead where no byte is left that both allow. Generation then ends
    with an error; it is not looked for beforehand.

    Args:
        first: Its expectations make the drafts.
        second: Any other.
    """

    def __init__(self, first: Constraint, second: Constraint) -> None:
        self._parts = (first, second)

    def start(self) -> tuple[Any, Any]:
        """The pair of both states."""
        first, second = self._parts
        return first.start(), second.start()

    def allowed(self, state: tuple[Any, Any]) -> np.ndarray:
        """What both allow."""
        first, second = self._parts
        return first.allowed(state[0]) & second.allowed(state[1])

    def advance(self, state: tuple[Any, Any], byte_id: int) -> tuple[Any, Any]:
        """Advances both."""
        first, second = self._parts
        return first.advance(state[0], byte_id), second.advance(state[1], byte_id)

    def likely(self, state: tuple[Any, Any]) -> Sequence[int]:
        """What the first one expects, else the second."""
        first, second = self._parts
        return first.likely(state[0]) or second.likely(state[1])


__all__ = ["Intersection"]
