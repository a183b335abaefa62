"""The official KLUE-MRC scores: exact match and ROUGE-W over characters."""

import string
from collections.abc import Sequence
from difflib import SequenceMatcher

from kebyt5.tasks.metrics.answers import best_scores

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(answer: str) -> str:
    """Lowercases an answer, removes ASCII punctuation, squeezes blanks.

    The quotation marks 《》〈〉‘’ stay: the official code means to remove them, but its pattern
    matches one only before a literal `()‘’`, which no answer contains.
    """
    return " ".join(answer.lower().translate(_NO_PUNCTUATION).split())


def rouge_w(predicted: str, gold: str) -> float:
    """Computes the F1 of the longest common run of characters, as difflib finds it.

    As in the official code, difflib's autojunk is on: in a gold answer of 200 characters or more,
    it does not find runs that consist of frequent characters only.
    """
    if not gold:
        return float(not predicted)
    matcher = SequenceMatcher(None, predicted, gold)
    size = matcher.find_longest_match(0, len(predicted), 0, len(gold)).size
    return 2 * size / (len(predicted) + len(gold))


def scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Computes both scores in percent, each the best over a question's gold answers.

    Args:
        gold: The right answers to each question.
        predicted: The answer given to each question.

    Returns:
        exact_match: Share of the answers that equal a gold answer, both normalized.
        rouge_w: Mean of `rouge_w` of the normalized answers.
    """
    exact, soft = best_scores(gold, predicted, normalize, rouge_w)
    return {"exact_match": exact, "rouge_w": soft}
