"""Labels as an automaton over byte ids, so that what is generated is always one of them."""

from collections.abc import Sequence

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer


class LabelTrie:
    """The automaton whose words are given texts, each with the end of sequence.

    A state is a number, `START` at first. Generation under it only has to ask for the ids that may
    come next; where there is but one, it is forced and costs no decision.

    Args:
        labels: The texts, at least one.

    Raises:
        ValueError: There is no label.
    """

    START = 0

    def __init__(self, labels: Sequence[str]) -> None:
        if not labels:
            raise ValueError("a label trie needs at least one label")
        tokenizer = ByteTokenizer()
        self._next: list[dict[int, int]] = [{}]
        for label in labels:
            state = self.START
            for byte_id in tokenizer(label).input_ids:
                if byte_id not in self._next[state]:
                    self._next[state][byte_id] = len(self._next)
                    self._next.append({})
                state = self._next[state][byte_id]

    def __len__(self) -> int:
        """The number of states."""
        return len(self._next)

    def allowed(self, state: int) -> list[int]:
        """The ids that may come next, ascending; none after the end of sequence."""
        return sorted(self._next[state])

    def advance(self, state: int, byte_id: int) -> int:
        """The state after one more id.

        Raises:
            KeyError: The id is not allowed.
        """
        return self._next[state][byte_id]


__all__ = ["LabelTrie"]
