"""The interface of constraints: automata over byte ids."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from kebyt5.models.offsets import replace_surrogates
from kebyt5.models.tokenization_kebyt5 import OFFSET, VOCABULARY

MAX_GUESS = 31
"""Most ids that are guessed at a time."""


class ConstraintError(ValueError):
    """A constraint cannot be built, or leaves nothing to generate; the message gives the reason."""


class Constraint(ABC):
    """An automaton that says which ids may come next.

    States are immutable values: after a wrong draft, generation goes on from an earlier one. One
    constraint may serve any number of requests.
    """

    @abstractmethod
    def start(self) -> Any:
        """The state before the first id."""

    @abstractmethod
    def allowed(self, state: Any) -> np.ndarray:
        """The ids that may come next, bool (384,), the end of sequence among them.

        The array must not be changed. It is not called after the end of sequence.
        """

    @abstractmethod
    def advance(self, state: Any, byte_id: int) -> Any:
        """The state after one more id, which has to be allowed."""

    def likely(self, state: Any) -> Sequence[int]:
        """Ids that the constraint expects next, as a draft; by default none.

        It is called before every pass, and at most `MAX_GUESS` of the ids are used.
        """
        return ()

    def __and__(self, other: "Constraint") -> "Constraint":
        """The constraint that allows what both allow."""
        from kebyt5.generation.constraints.intersection import Intersection

        return Intersection(self, other)


def in_vocabulary(mask: np.ndarray, size: int) -> np.ndarray:
    """Fits a mask to a model whose vocabulary has `size` ids; ids beyond the mask are forbidden."""
    fitted = np.zeros(size, bool)
    fitted[: len(mask)] = mask[:size]
    return fitted


def forced(mask: np.ndarray) -> int | None:
    """The only id that a mask allows; None if it allows several.

    Raises:
        ConstraintError: The mask allows none.
    """
    allowed = np.flatnonzero(mask)
    if allowed.size == 0:
        raise ConstraintError("the constraint leaves nothing to generate here")
    return int(allowed[0]) if allowed.size == 1 else None


def mask_of(ids: Sequence[int]) -> np.ndarray:
    """A read-only mask, bool (384,), that allows the given ids."""
    mask = np.zeros(VOCABULARY, bool)
    mask[list(ids)] = True
    mask.flags.writeable = False
    return mask


def byte_ids(text: str) -> list[int]:
    """The ids of a text's bytes, without `</s>`; lone surrogates become U+FFFD."""
    return [byte + OFFSET for byte in replace_surrogates(text).encode()]


__all__ = ["MAX_GUESS", "Constraint", "ConstraintError", "byte_ids", "mask_of"]
