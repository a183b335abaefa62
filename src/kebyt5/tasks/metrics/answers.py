"""Scores of answers to questions of which each may have several right ones."""

from collections.abc import Callable, Sequence


def best_scores(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[str],
    normalize: Callable[[str], str],
    similarity: Callable[[str, str], float],
) -> tuple[float, float]:
    """Exact match and a softer score in percent, for each question the best over its answers.

    Args:
        gold: For each question its right answers, at least one.
        predicted: For each question the answer given.
        normalize: What is done to both before they are compared.
        similarity: Of a given answer to a right one, from 0 to 1.

    Raises:
        ValueError: There are not as many answers as questions.
    """
    exact = soft = 0.0
    for answers, answer in zip(gold, predicted, strict=True):
        given = normalize(answer)
        wanted = [normalize(text) for text in answers]
        exact += given in wanted
        soft += max(similarity(given, text) for text in wanted)
    count = max(1, len(gold))
    return 100 * exact / count, 100 * soft / count
