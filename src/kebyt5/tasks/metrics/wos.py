"""The official scores of WoS, on dialogue states as sets."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

State = AbstractSet[str]
"""The pairs of a slot and its value, each as one text."""


def slot_f1(gold: State, predicted: State) -> float:
    """F1 of the pairs of one turn; where nothing is wanted, 1 if nothing is given, else 0."""
    if not gold:
        return float(not predicted)
    return 2 * len(gold & predicted) / (len(gold) + len(predicted))


def scores(gold: Sequence[State], predicted: Sequence[State]) -> dict[str, float]:
    """All scores in percent.

    Args:
        gold: For each user turn the state after it.
        predicted: The same for the prediction.

    Returns:
        jga: Joint goal accuracy, the share of turns of which the whole state is right.
        slot_f1: Mean over the turns of `slot_f1`.
    """
    turns = list(zip(gold, predicted, strict=True))
    count = max(1, len(turns))
    return {
        "jga": 100 * sum(g == p for g, p in turns) / count,
        "slot_f1": 100 * sum(slot_f1(g, p) for g, p in turns) / count,
    }
