"""What a constraint is: an automaton over byte ids."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from kebyt5.models.tokenization_kebyt5 import OFFSET, VOCABULARY

MAX_GUESS = 31
"""Ids that are guessed at a time, at most."""


class ConstraintError(ValueError):
    """A constraint cannot be had or leaves nothing to generate; the message gives the reason."""


class Constraint(ABC):
    """An automaton that says which ids may come next.

    States are values: they are kept, compared with nobody, and advanced again from an earlier one
    where a draft turned out wrong. One constraint serves any number of requests.
    """

    @abstractmethod
    def start(self) -> Any:
        """The state before the first id."""

    @abstractmethod
    def allowed(self, state: Any) -> np.ndarray:
        """The ids that may come next, bool (384,), the end of sequence among them.

        The array is not to be changed. Nothing is asked for after the end of sequence.
        """

    @abstractmethod
    def advance(self, state: Any, byte_id: int) -> Any:
        """The state after one more id, which has to be allowed."""

    def likely(self, state: Any) -> Sequence[int]:
        """Ids that the constraint expects to come next, as a draft; none unless it knows better.

        It is asked before every pass, and no more than `MAX_GUESS` of them are used.
        """
        return ()

    def __and__(self, other: "Constraint") -> "Constraint":
        """What both constraints allow."""
        from kebyt5.generation.constraints.intersection import Intersection

        return Intersection(self, other)


def forced(mask: np.ndarray) -> int | None:
    """The only id that a mask allows, None where there are several.

    Raises:
        ConstraintError: There is none.
    """
    allowed = np.flatnonzero(mask)
    if allowed.size == 0:
        raise ConstraintError("the constraint leaves nothing to generate here")
    return int(allowed[0]) if allowed.size == 1 else None


def mask_of(ids: Sequence[int]) -> np.ndarray:
    """The mask, bool (384,), that allows some ids."""
    mask = np.zeros(VOCABULARY, bool)
    mask[list(ids)] = True
    mask.flags.writeable = False
    return mask


def byte_ids(text: str) -> list[int]:
    """The ids of a text's bytes, nothing added; lone surrogates become U+FFFD."""
    return [byte + OFFSET for byte in re.sub("[\ud800-\udfff]", "\ufffd", text).encode()]


__all__ = ["MAX_GUESS", "Constraint", "ConstraintError", "byte_ids", "mask_of"]
