"""The official scores of WoS, computed from dialogue states as sets."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

State = AbstractSet[str]
"""Pairs of a slot and its value, each as one text."""


def slot_f1(gold: State, predicted: State) -> float:
    """Computes the F1 of the pairs of one turn; if both states are empty, it is 1."""
    if not gold:
        return float(not predicted)
    return 2 * len(gold & predicted) / (len(gold) + len(predicted))


def scores(gold: Sequence[State], predicted: Sequence[State]) -> dict[str, float]:
    """Computes all scores in percent.

    Args:
        gold: The state after each user turn.
        predicted: The predicted state after each user turn.

    Returns:
        jga: Joint goal accuracy, the share of turns whose whole state is right.
        slot_f1: Mean over the turns of `slot_f1`.
    """
    turns = list(zip(gold, predicted, strict=True))
    count = max(1, len(turns))
    return {
        "jga": 100 * sum(g == p for g, p in turns) / count,
        "slot_f1": 100 * sum(slot_f1(g, p) for g, p in turns) / count,
    }
