"""The official KLUE-MRC scores: exact match and ROUGE-W over characters."""

import string
from collections.abc import Sequence
from difflib import SequenceMatcher

from kebyt5.tasks.metrics.answers import best_scores

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(answer: str) -> str:
    """Lower case, without ASCII punctuation, blanks squeezed.

    The quotation marks 《》〈〉‘’ stay: the official code means to drop them, but its pattern wants
    one of them before a literal `()‘’`, which no answer has.
    """
    return " ".join(answer.lower().translate(_NO_PUNCTUATION).split())


def rouge_w(predicted: str, gold: str) -> float:
    """F1 of the longest common run of characters, as difflib finds it.

    difflib's autojunk is on, as in the official code: in a gold answer of 200 characters and more
    it finds no run of frequent ones alone.
    """
    if not gold:
        return float(not predicted)
    matcher = SequenceMatcher(None, predicted, gold)
    size = matcher.find_longest_match(0, len(predicted), 0, len(gold)).size
    return 2 * size / (len(predicted) + len(gold))


def scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Both scores in percent, for each question the best over its gold answers.

    Args:
        gold: For each question its right answers.
        predicted: For each question the answer given.

    Returns:
        exact_match: Share of the answers that equal a gold answer, both normalized.
        rouge_w: Mean of `rouge_w` of the normalized answers.
    """
    exact, soft = best_scores(gold, predicted, normalize, rouge_w)
    return {"exact_match": exact, "rouge_w": soft}
