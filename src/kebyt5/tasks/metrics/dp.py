"""The official KLUE-DP scores, computed from one arc per word."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from kebyt5.tasks.metrics.classification import LabelScore, accuracy, label_scores, macro_f1

# fmt: off
LABELS = (
    "NP", "NP_AJT", "VP", "NP_SBJ", "VP_MOD", "NP_OBJ", "AP", "NP_CNJ", "NP_MOD", "VNP",
    "DP", "VP_AJT", "VNP_MOD", "NP_CMP", "VP_SBJ", "VP_CMP", "VP_OBJ", "VNP_CMP", "AP_MOD", "X_AJT",
    "VP_CNJ", "VNP_AJT", "IP", "X", "X_SBJ", "VNP_OBJ", "VNP_SBJ", "X_OBJ", "AP_AJT", "L",
    "X_MOD", "X_CNJ", "VNP_CNJ", "X_CMP", "AP_CMP", "AP_SBJ", "R", "NP_SVJ",
)
# fmt: on
"""The dependency labels in the official order; the score treats those from the 16th on as one."""

_WRONG, _RARE = -2, -3
_FREQUENT = 15
_CLASSES = {label: i if i < _FREQUENT else _RARE for i, label in enumerate(LABELS)}
_NAMES = {
    **dict(enumerate(LABELS[:_FREQUENT])),
    _RARE: "rare labels",
    _WRONG: "wrong head or label",
}


class Arc(NamedTuple):
    """The dependency of one word.

    Attributes:
        head: The number of the word it depends on, from 1; 0 for the root.
        label: The kind of dependency.
    """

    head: int
    label: str


MISSING = Arc(_WRONG, "")
"""The arc of a word for which nothing can be read; it is wrong for every gold arc."""


def scores(gold: Sequence[Sequence[Arc]], predicted: Sequence[Sequence[Arc]]) -> dict[str, float]:
    """Computes all scores of KLUE-DP in percent.

    Args:
        gold: The arcs of each sentence.
        predicted: As many arcs for each sentence; `MISSING` for an absent one.

    Returns:
        uas_macro_f1: Official. F1 of the heads, averaged over the head numbers that occur in gold
            or prediction.
        las_macro_f1: Official. F1 of the labels, averaged over the classes that occur in gold or
            prediction. Labels from the 16th on are one class. An unknown label and the label of an
            arc with a wrong head form another class, which no gold arc has.
        uas_micro_f1: The share of right heads.
        las_micro_f1: The share of right labels, by the same classes.

    Raises:
        ValueError: Gold and prediction differ in shape.
    """
    pairs = _pairs(gold, predicted)
    gold_heads = [arc.head for arc, _ in pairs]
    heads = [arc.head for _, arc in pairs]
    gold_labels, labels = _classes(pairs)
    return {
        "uas_macro_f1": macro_f1(gold_heads, heads),
        "las_macro_f1": macro_f1(gold_labels, labels),
        "uas_micro_f1": accuracy(gold_heads, heads),
        "las_micro_f1": accuracy(gold_labels, labels),
    }


def arc_label_scores(
    gold: Sequence[Sequence[Arc]], predicted: Sequence[Sequence[Arc]]
) -> list[LabelScore]:
    """Scores the classes of labels whose mean is `las_macro_f1`.

    Args:
        gold: The arcs of each sentence.
        predicted: As many arcs for each sentence; `MISSING` for an absent one.

    Raises:
        ValueError: Gold and prediction differ in shape.
    """
    return label_scores(*_classes(_pairs(gold, predicted)), _NAMES)


def _pairs(
    gold: Sequence[Sequence[Arc]], predicted: Sequence[Sequence[Arc]]
) -> list[tuple[Arc, Arc]]:
    """Pairs the gold arc of every word with the predicted one."""
    sentences = zip(gold, predicted, strict=True)
    return list(chain.from_iterable(zip(g, p, strict=True) for g, p in sentences))


def _classes(pairs: Sequence[tuple[Arc, Arc]]) -> tuple[list[int], list[int]]:
    """Maps the labels of the gold and of the predicted arcs to the classes that are scored."""
    gold = [_CLASSES.get(g.label, _WRONG) for g, _ in pairs]
    predicted = [_CLASSES.get(p.label, _WRONG) if p.head == g.head else _WRONG for g, p in pairs]
    return gold, predicted
