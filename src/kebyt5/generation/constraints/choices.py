"""A constraint that allows one of several texts for each part: a label, the rows of a parse."""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, chain

import numpy as np

from kebyt5.generation.constraints.constraint import MAX_GUESS, Constraint, byte_ids
from kebyt5.generation.constraints.trie import Trie
from kebyt5.models.tokenization_kebyt5 import EOS

State = tuple[int, int]


class Choices(Constraint):
    """Allows one text of each part in turn, then the end of sequence.

    Args:
        parts: The texts allowed for each part, the likeliest first. Only in the last part may a
            text begin another one, so that every output can be read in one way only.
        guess: The probable text of each part, for drafts; the first one if not given.

    Raises:
        ValueError: There is no part, a part has no text, a text begins another one, or a guess is
            not a text of its part.
    """

    def __init__(self, parts: Sequence[Sequence[str]], guess: Sequence[str] = ()) -> None:
        if not parts or not all(parts):
            raise ValueError("choices need at least one part, and each part at least one text")
        if isinstance(parts, str) or any(isinstance(texts, str) for texts in parts):
            raise ValueError("each part of choices is a list of texts: [['yes', 'no']]")
        guess = guess or [texts[0] for texts in parts]
        if len(guess) != len(parts):
            raise ValueError(f"{len(guess)} guesses for {len(parts)} parts")
        for texts, text in zip(parts, guess, strict=True):
            if text not in texts:
                raise ValueError(f"the guess {text!r} is not a text of its part")
        last = len(parts) - 1
        trie = cache(_trie)  # all words of a parse share their heads and labels
        self._tries = [trie(tuple(texts), part == last) for part, texts in enumerate(parts)]
        self._guess = [tuple(byte_ids(text)) for text in guess]
        self._guess[last] += (EOS,)
        self._guessed = list(chain.from_iterable(self._guess))
        self._ends = list(accumulate(map(len, self._guess)))  # of each part's guess in `_guessed`

    def start(self) -> State:
        """The number of the part, and the node in its trie."""
        return self._settle(0, 0)

    def allowed(self, state: State) -> np.ndarray:
        """The ids that may come next; none after the end of sequence."""
        part, node = state
        return self._tries[part].allowed(node)

    def advance(self, state: State, byte_id: int) -> State:
        """The state after one more id.

        Raises:
            KeyError: The id is not allowed.
        """
        part, node = state
        return self._settle(part, self._tries[part].advance(node, byte_id))

    def likely(self, state: State) -> Sequence[int]:
        """The rest of the guess or, if another text was begun, of the first text that fits."""
        part, node = state
        rest = self._tries[part].ending(node, self._guess[part])
        end = self._ends[part]
        return rest + self._guessed[end : end + MAX_GUESS]

    def _settle(self, part: int, node: int) -> State:
        """Goes on to the next part at the end of one, and over parts that are empty."""
        while self._tries[part].is_leaf(node) and part + 1 < len(self._tries):
            part, node = part + 1, 0
        return part, node


def _trie(texts: tuple[str, ...], ends: bool) -> Trie:
    """The trie of some texts, each followed by the end of sequence if `ends`."""
    end = [EOS] if ends else []
    return Trie(byte_ids(text) + end for text in texts)
