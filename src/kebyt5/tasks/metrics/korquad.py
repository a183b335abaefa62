"""The official KorQuAD 1.0 scores: exact match and F1 over characters."""

import string
from collections import Counter
from collections.abc import Sequence

from kebyt5.tasks.metrics.answers import best_scores

# Quotation marks and brackets become blanks; other ASCII punctuation is removed.
_MARKS = str.maketrans(
    {**dict.fromkeys(string.punctuation), **dict.fromkeys("'\"《》<>〈〉()‘’", " ")}
)


def normalize(answer: str) -> str:
    """Lowercases an answer, removes quotation marks, brackets and punctuation, squeezes blanks."""
    return " ".join(answer.translate(_MARKS).lower().split())


def character_f1(predicted: str, gold: str) -> float:
    """Computes the F1 of two bags of characters, ignoring blanks; 0 if either is empty."""
    given, wanted = (Counter("".join(text.split())) for text in (predicted, gold))
    both = (given & wanted).total()
    return 2 * both / (given.total() + wanted.total()) if both else 0.0


def scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Computes both scores in percent, each the best over a question's gold answers.

    Args:
        gold: The right answers to each question.
        predicted: The answer given to each question.

    Returns:
        exact_match: Share of the answers that equal a gold answer, both normalized.
        f1: Mean of `character_f1` of the normalized answers.
    """
    exact, soft = best_scores(gold, predicted, normalize, character_f1)
    return {"exact_match": exact, "f1": soft}
