"""The official KLUE-MRC scores: exact match and ROUGE-W over characters."""

import string
from collections.abc import Sequence
from difflib import SequenceMatcher

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
    exact = rouge = 0.0
    for answers, answer in zip(gold, predicted, strict=True):
        given = normalize(answer)
        wanted = [normalize(text) for text in answers]
        exact += given in wanted
        rouge += max(rouge_w(given, text) for text in wanted)
    count = max(1, len(gold))
    return {"exact_match": 100 * exact / count, "rouge_w": 100 * rouge / count}
