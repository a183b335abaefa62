"""Labels as an automaton over byte ids, so that what is generated is always one of them."""

from collections.abc import Sequence

import numpy as np

from kebyt5.generation.constraints.constraint import EOS, Constraint, byte_ids
from kebyt5.generation.constraints.trie import Trie


class LabelTrie(Constraint):
    """One of the given texts, each with the end of sequence.

    Args:
        labels: The texts, at least one.

    Raises:
        ValueError: There is no label.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        if not labels:
            raise ValueError("a label trie needs at least one label")
        self._trie = Trie([*byte_ids(label), EOS] for label in labels)

    def __len__(self) -> int:
        """The number of states."""
        return len(self._trie)

    def start(self) -> int:
        """The root of the trie."""
        return 0

    def allowed(self, state: int) -> np.ndarray:
        """The ids that may come next; none after the end of sequence."""
        return self._trie.allowed(state)

    def advance(self, state: int, byte_id: int) -> int:
        """The state after one more id.

        Raises:
            KeyError: The id is not allowed.
        """
        return self._trie.advance(state, byte_id)


__all__ = ["LabelTrie"]
