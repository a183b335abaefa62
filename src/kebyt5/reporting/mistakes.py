"""The worst answers of a result, and where they differ from what was wanted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from rapidfuzz.distance import Indel

from kebyt5.reporting.results import Predicted, Result

SAME, MISSING, ADDED = "same", "missing", "added"

_ISLAND = 2
"""Up to this many equal characters between two changes are taken for chance."""


class Piece(NamedTuple):
    """A run of characters that two texts share, that only the target has, or only the answer."""

    kind: str
    text: str


@dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        id: The example's.
        inputs: Its input fields.
        pieces: Target and answer, laid over each other.
        badness: How wrong, by the measure of its `Mistakes`.
        reason: Why the answer could not be read as it should be; None where it could.
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
        worst: Those that are furthest from right, the first of equals first.
        count: How many wrong answers there are.
        measure: What badness is, in words.
    """

    worst: Sequence[Mistake]
    count: int
    measure: str


def worst_mistakes(result: Result, most: int = 20) -> Mistakes:
    """Finds the wrong answers that are furthest from right.

    An answer is wrong where it reads as something else than the target does.
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
        for bad, reason, line in sorted(wrong, key=lambda mistake: -mistake[0])[:most]
    ]
    return Mistakes(worst, len(wrong), measure)


def _measure(result: Result) -> tuple[str, Callable[[Predicted], float]]:
    """How wrong an answer is, in words and as a function."""
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


def _has_likelihoods(line: Predicted) -> bool:
    return {line.text, line.target} <= line.log_likelihoods.keys()


def compare(target: str, text: str) -> list[Piece]:
    """Lays an answer over the target.

    The pieces that are the same or missing make up the target, those that are the same or added
    the answer.
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
    """Joins the changes between two equal pieces to one of each kind."""
    for same, group in groupby(pieces, key=lambda piece: piece.kind == SAME):
        found = list(group)
        kinds = (SAME,) if same else (MISSING, ADDED)
        for kind in kinds:
            if text := "".join(piece.text for piece in found if piece.kind == kind):
                yield Piece(kind, text)


__all__ = ["ADDED", "MISSING", "SAME", "Mistake", "Mistakes", "Piece", "compare", "worst_mistakes"]
