"""A trie of id sequences, of which the constraints with known words are made."""

from collections.abc import Iterable, Sequence

import numpy as np

from kebyt5.generation.constraints.constraint import mask_of


class Trie:
    """Words as paths from node 0; no word may begin another one, so that leaves are words.

    Args:
        words: Ids.
    """

    def __init__(self, words: Iterable[Sequence[int]]) -> None:
        self._next: list[dict[int, int]] = [{}]
        for word in words:
            node = 0
            for byte_id in word:
                if byte_id not in self._next[node]:
                    self._next[node][byte_id] = len(self._next)
                    self._next.append({})
                node = self._next[node][byte_id]
        self._masks: list[np.ndarray | None] = [None] * len(self._next)

    def __len__(self) -> int:
        """The number of nodes."""
        return len(self._next)

    def allowed(self, node: int) -> np.ndarray:
        """The ids that go on from a node, bool (384,)."""
        mask = self._masks[node]
        if mask is None:
            mask = self._masks[node] = mask_of(list(self._next[node]))
        return mask

    def advance(self, node: int, byte_id: int) -> int:
        """The node below.

        Raises:
            KeyError: The id does not go on from this node.
        """
        return self._next[node][byte_id]

    def is_leaf(self, node: int) -> bool:
        """Whether a word ends here."""
        return not self._next[node]


__all__ = ["Trie"]
