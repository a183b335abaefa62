"""Scores of classification in percent, as scikit-learn defines them with `zero_division=0`.

Without any examples, every score is 0.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class LabelScore(NamedTuple):
    """The score of one label.

    Attributes:
        label: Display name of the label.
        gold: Number of examples with this gold label.
        predicted: Number of examples for which the label was predicted.
        f1: F1 in percent.
    """

    label: str
    gold: int
    predicted: int
    f1: float


def softmax(log_likelihoods: ArrayLike) -> NDArray[np.float64]:
    """Turns log-likelihoods into probabilities that sum to 1 along the last axis."""
    values = np.asarray(log_likelihoods, np.float64)
    weights = np.exp(values - values.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def accuracy(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """Computes the share of equal classes, which is also the micro F1 over all classes.

    Raises:
        ValueError: There are not as many predictions as gold classes.
    """
    hits = [g == p for g, p in zip(gold, predicted, strict=True)]
    return 100 * sum(hits) / len(hits) if hits else 0.0


def macro_f1(
    gold: Sequence[Hashable],
    predicted: Sequence[Hashable],
    classes: Collection[Hashable] | None = None,
) -> float:
    """Computes the mean F1 of the classes that occur in gold or prediction.

    Args:
        gold: The right classes.
        predicted: The predicted classes.
        classes: All classes, if a prediction may be none of them.

    Raises:
        ValueError: There are not as many predictions as gold classes.
    """
    hits, both = _count(gold, predicted)
    occurring = [c for c in both if classes is None or c in classes]
    return 100 * sum(2 * hits[c] / both[c] for c in occurring) / max(1, len(occurring))


def micro_f1(
    gold: Sequence[Hashable], predicted: Sequence[Hashable], classes: Collection[Hashable]
) -> float:
    """Computes the F1 of all decisions for one of the `classes`; 0 if there are none.

    Raises:
        ValueError: There are not as many predictions as gold classes.
    """
    hits, both = _count(gold, predicted)
    decisions = sum(both[c] for c in classes)
    return 100 * 2 * sum(hits[c] for c in classes) / decisions if decisions else 0.0


def label_scores(
    gold: Sequence[Hashable], predicted: Sequence[Hashable], names: Mapping[Any, str]
) -> list[LabelScore]:
    """Scores each label that occurs in gold or prediction.

    Args:
        gold: The right labels.
        predicted: The predicted labels.
        names: Display names of all labels, in the order of the result.

    Raises:
        ValueError: There are not as many predictions as gold labels.
    """
    wanted, given = Counter(gold), Counter(predicted)
    return [
        LabelScore(name, wanted[c], given[c], micro_f1(gold, predicted, [c]))
        for c, name in names.items()
        if wanted[c] or given[c]
    ]


def auprc(probabilities: ArrayLike, gold: Sequence[int], only_present: bool = False) -> float:
    """Computes the mean over classes of the area under the precision-recall curve (trapezoids).

    Args:
        probabilities: Probability of each class for each example, shape (examples, classes).
        gold: Index of the right class of each example.
        only_present: Whether to leave out classes that no example has. The official score keeps
            them: their area is 0.5 by scikit-learn's definition, where recall falls from 1 to 0 as
            precision rises from 0 to 1.

    Raises:
        ValueError: The shapes do not agree.
    """
    scores, right = np.asarray(probabilities, np.float64), np.asarray(gold, np.int64)
    if scores.ndim != 2 or len(scores) != len(right):
        raise ValueError(f"probabilities {scores.shape} do not fit {len(right)} gold classes")
    classes = np.unique(right) if only_present else np.arange(scores.shape[1])
    if not len(right):
        return 0.0
    return 100 * float(np.mean([_area(scores[:, c], right == c) for c in classes]))


def _count(
    gold: Sequence[Hashable], predicted: Sequence[Hashable]
) -> tuple[Counter[Hashable], Counter[Hashable]]:
    """Counts, for each class, the hits and the gold and predicted decisions together."""
    hits = Counter(g for g, p in zip(gold, predicted, strict=True) if g == p)
    return hits, Counter(gold) + Counter(predicted)


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], np.cumsum(positive[order])
    # Equal scores form a single threshold.
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    hits = found[last]
    precision = np.concatenate([[1.0], hits / (last + 1)])
    recall = np.concatenate([[0.0], hits / hits[-1] if hits[-1] else np.ones(len(last))])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))
