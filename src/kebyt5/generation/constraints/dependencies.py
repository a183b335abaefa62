"""Rows of a dependency parse: of all that is written, only heads and labels are a choice."""

from collections.abc import Sequence

import numpy as np

from kebyt5.generation.constraints.constraint import EOS, Constraint, byte_ids
from kebyt5.generation.constraints.trie import Trie

State = tuple[int, int]


class DependencyRows(Constraint):
    r"""`deprel: (1/LEN, HEAD, LABEL)▁(2/LEN, HEAD, LABEL)▁…\nword_counts: N`.

    Args:
        word_lengths: The length of each word in characters; there is at least one.
        labels: What a word may be to its head, a number from 0, the root, to N.

    Raises:
        ValueError: There is no word or no label.
    """

    def __init__(self, word_lengths: Sequence[int], labels: Sequence[str]) -> None:
        if not word_lengths or not labels:
            raise ValueError("dependency rows need at least one word and one label")
        count = len(word_lengths)
        heads = Trie(byte_ids(f"{head}, ") for head in range(count + 1))
        # The bracket ends a label, so that none begins another one.
        arcs = Trie(byte_ids(f"{label})") for label in labels)
        self._parts: list[Trie] = []
        for number, length in enumerate(word_lengths, 1):
            before = "deprel: " if number == 1 else "▁"
            self._parts += [Trie([byte_ids(f"{before}({number}/{length}, ")]), heads, arcs]
        self._parts.append(Trie([[*byte_ids(f"\nword_counts: {count}"), EOS]]))

    def start(self) -> State:
        """Part and node in its trie."""
        return 0, 0

    def allowed(self, state: State) -> np.ndarray:
        """The ids that may come next."""
        part, node = state
        return self._parts[part].allowed(node)

    def advance(self, state: State, byte_id: int) -> State:
        """The state after one more id."""
        part, node = state
        node = self._parts[part].advance(node, byte_id)
        if self._parts[part].is_leaf(node) and part + 1 < len(self._parts):
            return part + 1, 0
        return part, node


__all__ = ["DependencyRows"]
