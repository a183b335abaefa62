"""The official KLUE-STS scores, in percent."""

from collections.abc import Sequence

import numpy as np

from kebyt5.tasks.metrics.classification import micro_f1

THRESHOLD = 3.0
"""Score from which two sentences count as paraphrases."""


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Computes Pearson's r; 0 if it is undefined because all values of one side are equal.

    Raises:
        ValueError: There are not as many predictions as gold scores.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold scores, but {len(predicted)} predicted ones")
    # Compare the values themselves: deviations from a rounded mean need not be exactly zero.
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    x, y = (np.asarray(side, np.float64) - np.mean(side) for side in (gold, predicted))
    return 100 * float(x @ y / np.sqrt((x @ x) * (y @ y)))


def paraphrase_f1(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Computes the F1 of the paraphrases, which are the pairs with a score of `THRESHOLD` or more.

    Raises:
        ValueError: There are not as many predictions as gold scores.
    """
    wanted, given = ([score >= THRESHOLD for score in side] for side in (gold, predicted))
    return micro_f1(wanted, given, [True])
