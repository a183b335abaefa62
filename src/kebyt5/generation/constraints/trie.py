"""A trie of id sequences, for constraints over known texts."""

from collections.abc import Iterable, Sequence

import numpy as np

from kebyt5.generation.constraints.constraint import mask_of


class Trie:
    """A trie whose words are the paths from node 0 to the leaves.

    Args:
        words: Ids of each word, the likeliest word first.

    Raises:
        ValueError: A word begins another one, so that leaves would not be words.
    """

    def __init__(self, words: Iterable[Sequence[int]]) -> None:
        self._next: list[dict[int, int]] = [{}]
        ends = set()
        for word in words:
            node = 0
            for byte_id in word:
                if byte_id not in self._next[node]:
                    self._next[node][byte_id] = len(self._next)
                    self._next.append({})
                node = self._next[node][byte_id]
            ends.add(node)
        if any(self._next[node] for node in ends):
            raise ValueError("one text begins another; end each with the text that follows it")
        self._masks: list[np.ndarray | None] = [None] * len(self._next)

    def __len__(self) -> int:
        """The number of nodes."""
        return len(self._next)

    def allowed(self, node: int) -> np.ndarray:
        """The ids that continue from a node, bool (384,)."""
        mask = self._masks[node]
        if mask is None:
            mask = self._masks[node] = mask_of(list(self._next[node]))
        return mask

    def advance(self, node: int, byte_id: int) -> int:
        """The child of a node.

        Raises:
            KeyError: The id does not continue from this node.
        """
        return self._next[node][byte_id]

    def is_leaf(self, node: int) -> bool:
        """Whether a word ends here."""
        return not self._next[node]

    def ending(self, node: int, word: Sequence[int]) -> list[int]:
        """The ids from a node to the end of a word, or of the first word through the node.

        Args:
            node: Any node.
            word: The preferred word.
        """
        here = 0
        for written, byte_id in enumerate(word):
            if here == node:
                return list(word[written:])
            here = self._next[here][byte_id]
        rest = []
        while self._next[node]:
            byte_id, node = next(iter(self._next[node].items()))
            rest.append(byte_id)
        return rest
