"""Confusion matrices of tasks whose answers are labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kebyt5.reporting.results import Result


class Cell(NamedTuple):
    """How often a label was given for a gold label, and for what share of its examples."""

    times: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        labels: Labels that occur in gold or answers, in the task's order.
        rows: For each gold label, one cell for each label as answer.
        mixed_up: The most frequent confusions: gold label, answer, number of times.
    """

    labels: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    mixed_up: Sequence[tuple[str, str, int]]


_MOST = 15
"""Largest number of confusions in `Confusion.mixed_up`."""


def confusion(result: Result) -> Confusion | None:
    """Counts gold labels and answers of a result; None if its answers are not labels."""
    # This also excludes tasks like STS, whose labels are text but whose gold is a number.
    if not result.predicted or not all(e.gold in result.task.labels for e in result.examples):
        return None
    pairs = [
        (line.example.gold, result.task.parse(line.text, line.example).value)
        for line in result.predicted
    ]
    counts = Counter(pairs)
    seen = {label for pair in pairs for label in pair}
    labels = [label for label in result.task.labels if label in seen]
    rows = []
    for gold in labels:
        # Also answers that are no label, which have no column.
        total = sum(count for (wanted, _), count in counts.items() if wanted == gold)
        rows.append([Cell(counts[gold, a], counts[gold, a] / max(1, total)) for a in labels])
    mixed_up = [(*pair, n) for pair, n in counts.most_common() if pair[0] != pair[1]]
    return Confusion(labels, rows, mixed_up[:_MOST])
