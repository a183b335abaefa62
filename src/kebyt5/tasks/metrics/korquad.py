"""The official KorQuAD 1.0 scores: exact match and F1 over characters."""

import string
from collections import Counter
from collections.abc import Sequence

from kebyt5.tasks.metrics.answers import best_scores

# Quotation marks and brackets part words, other ASCII punctuation vanishes.
_MARKS = str.maketrans(
    {**dict.fromkeys(string.punctuation), **dict.fromkeys("'\"《》<>〈〉()‘’", " ")}
)


def normalize(answer: str) -> str:
    """Lower case, without quotation marks, brackets and ASCII punctuation, blanks squeezed."""
    return " ".join(answer.translate(_MARKS).lower().split())


def character_f1(predicted: str, gold: str) -> float:
    """F1 of the characters without blanks as bags; 0 where either has none."""
    given, wanted = (Counter("".join(text.split())) for text in (predicted, gold))
    both = (given & wanted).total()
    return 2 * both / (given.total() + wanted.total()) if both else 0.0


def scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Both scores in percent, for each question the best over its gold answers.

    Args:
        gold: For each question its right answers.
        predicted: For each question the answer given.

    Returns:
        exact_match: Share of the answers that equal a gold answer, both normalized.
        f1: Mean of `character_f1` of the normalized answers.
    """
    exact, soft = best_scores(gold, predicted, normalize, character_f1)
    return {"exact_match": exact, "f1": soft}
