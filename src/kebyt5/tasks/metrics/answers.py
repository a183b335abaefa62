"""Scores of answers to questions that may have several right answers."""

from collections.abc import Callable, Sequence


def best_scores(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[str],
    normalize: Callable[[str], str],
    similarity: Callable[[str, str], float],
) -> tuple[float, float]:
    """Computes exact match and a softer score in percent, each the best over a question's answers.

    Args:
        gold: The right answers to each question, at least one.
        predicted: The answer given to each question.
        normalize: Applied to both before they are compared.
        similarity: Similarity of a given answer to a right one, from 0 to 1.

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
