"""The worst answers of a result, and how they differ from their targets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from rapidfuzz.distance import Indel

from kebyt5.reporting.results import PredictionLine, Result

MOST = 20
"""Most wrong answers that are shown."""

SAME, MISSING, ADDED = "same", "missing", "added"

_ISLAND = 2
"""Up to this many equal characters between two changes are considered a coincidence."""


class Piece(NamedTuple):
    """A run of characters that target and answer share, or that only one of them has."""

    kind: str
    text: str


@dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        id: Id of the example.
        inputs: Input fields of the example.
        pieces: The difference between target and answer.
        badness: How wrong the answer is, by the measure of its `Mistakes`.
        reason: Why the answer is malformed; None if it is well-formed.
    """

    id: str
    inputs: Mapping[str, str]
    pieces: Sequence[Piece]
    badness: float
    reason: str | None


@dataclass(frozen=True)
class Mistakes:
    """The wrong answers of a result.

    Attributes:
        worst: The worst ones first; equally bad ones in the order of the data.
        count: Number of wrong answers in all.
        measure: Description of what badness measures.
    """

    worst: Sequence[Mistake]
    count: int
    measure: str


def worst_mistakes(result: Result) -> Mistakes:
    """Finds the wrong answers, the worst of which are shown.

    An answer is wrong if it parses to a different value than the target.
    """
    measure, badness = _measure(result)
    wrong = []
    for line in result.predicted or ():
        answer = result.task.parse(line.text, line.example)
        if answer.value != result.task.parse(line.target, line.example).value:
            wrong.append((badness(line), answer.reason, line))
    lay = _replaced if result.task.labels else compare
    worst = [
        Mistake(line.example.id, line.example.inputs, lay(line.target, line.text), bad, reason)
        for bad, reason, line in sorted(wrong, key=lambda mistake: -mistake[0])[:MOST]
    ]
    return Mistakes(worst, len(wrong), measure)


def _measure(result: Result) -> tuple[str, Callable[[PredictionLine], float]]:
    """Chooses a measure of how wrong an answer is: its description, and its function."""
    task, lines = result.task, result.predicted or ()
    if lines and all(isinstance(line.example.gold, float) for line in lines):
        return "the distance of the numbers", lambda line: abs(
            task.parse(line.text, line.example).value - line.example.gold
        )
    if task.labels and all(_has_likelihoods(line) for line in lines):
        return (
            "how much likelier the answer seemed than the target, in nats",
            lambda line: line.log_likelihoods[line.text] - line.log_likelihoods[line.target],
        )
    if task.labels:
        return "1 for any wrong label; the first ones of the data are shown", lambda line: 1.0
    return (
        "1 less the similarity of target and answer (Indel)",
        lambda line: 1 - Indel.normalized_similarity(line.target, line.text),
    )


def _has_likelihoods(line: PredictionLine) -> bool:
    return {line.text, line.target} <= line.log_likelihoods.keys()


def compare(target: str, text: str) -> list[Piece]:
    """Computes the difference between a target and an answer.

    The same and missing pieces together make up the target, the same and added pieces the answer.
    """
    pieces: list[Piece] = []
    for step in Indel.opcodes(target, text):
        before, after = (
            target[step.src_start : step.src_end],
            text[step.dest_start : step.dest_end],
        )
        pieces += [Piece(SAME, before)] if step.tag == "equal" else _replaced(before, after)
    last = len(pieces) - 1
    split = []
    for place, (kind, piece) in enumerate(pieces):
        if kind == SAME and len(piece) <= _ISLAND and 0 < place < last:
            split += _replaced(piece, piece)
        else:
            split.append(Piece(kind, piece))
    return list(_joined(split))


def _replaced(before: str, after: str) -> list[Piece]:
    pieces = (Piece(MISSING, before), Piece(ADDED, after))
    return [piece for piece in pieces if piece.text]


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Joins the changes between two equal pieces into one piece of each kind."""
    for same, group in groupby(pieces, key=lambda piece: piece.kind == SAME):
        found = list(group)
        kinds = (SAME,) if same else (MISSING, ADDED)
        for kind in kinds:
            if text := "".join(piece.text for piece in found if piece.kind == kind):
                yield Piece(kind, text)
