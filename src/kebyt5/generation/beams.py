"""Beam search: several outputs of one input, the likeliest first.

Beams share the keys and values over the input, so the encoder runs once whatever their number, and
the state of each in the constraint goes along with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from kebyt5.generation.cache import SlotCache
from kebyt5.generation.constraints.constraint import Constraint
from kebyt5.models.tokenization_kebyt5 import EOS


@dataclass(frozen=True)
class Hypothesis:
    """An output.

    Attributes:
        ids: Of the output, its end of sequence the last.
        log_likelihood: Of all of them, natural logarithm, among all ids that the model has.
    """

    ids: tuple[int, ...]
    log_likelihood: float


@dataclass(frozen=True)
class _Beam:
    ids: tuple[int, ...]  # the start of the decoder first
    log_likelihood: float
    state: Any
    cache: SlotCache  # of all ids but the last


def beam_search(
    run_pass: Callable[[list[list[int]], list[SlotCache]], Tensor],
    cache: SlotCache,
    start_id: int,
    constraint: Constraint,
    num_beams: int,
    max_new_ids: int,
    closing_ids: Sequence[int] = (EOS,),
) -> list[Hypothesis]:
    """Finds the likeliest outputs that a constraint allows, as far as beams reach.

    The score is the log likelihood itself, without a reward for length. An output may have several
    parts, such as the spans of several blanks. Beams compete within a part only, and the likeliest
    of all that close it begin the next one: beside the cheap bytes of a part that goes on, an end
    would look expensive, although what follows has to be paid for in any case.

    Args:
        run_pass: Of new ids of each beam and their caches, the logits (beams, V) behind them.
        cache: Of the input, without ids of an output.
        start_id: With which the decoder starts.
        constraint: What may be generated. Outputs that it does not let end are not found.
        num_beams: Beginnings that are kept at each length of a part, and outputs at most.
        max_new_ids: Of the longest part, with the id that closes it.
        closing_ids: Which id closes each part; the last is the end of sequence.

    Returns:
        The outputs, the likeliest first.
    """
    beams = [_Beam((start_id,), 0.0, constraint.start(), cache)]
    for closing_id in closing_ids:
        beams = _search_part(run_pass, beams, constraint, num_beams, max_new_ids, closing_id)
    return [Hypothesis(beam.ids[1:], beam.log_likelihood) for beam in beams]


def _search_part(
    run_pass: Callable[[list[list[int]], list[SlotCache]], Tensor],
    live: list[_Beam],
    constraint: Constraint,
    num_beams: int,
    max_new_ids: int,
    closing_id: int,
) -> list[_Beam]:
    """The likeliest beams that go on from some and end with an id, the likeliest first.

    The search ends as soon as no beam can become better than those that have ended.
    """
    closed: list[_Beam] = []
    for _ in range(max_new_ids if live else 0):
        logits = run_pass([[beam.ids[-1]] for beam in live], [beam.cache for beam in live])
        scores = logits.log_softmax(dim=-1).cpu().numpy().astype(np.float64)
        for row, beam in zip(scores, live, strict=True):
            beam.cache.length += 1
            row += beam.log_likelihood
            row[~constraint.allowed(beam.state)[: len(row)]] = -np.inf
        now_closed = [
            replace(beam, ids=(*beam.ids, closing_id), log_likelihood=float(row[closing_id]))
            for row, beam in zip(scores, live, strict=True)
            if np.isfinite(row[closing_id])
        ]
        closed = sorted([*closed, *now_closed], key=lambda each: -each.log_likelihood)[:num_beams]
        if closing_id != EOS:  # their caches are needed again, and those that go on have them too
            closed = [
                replace(each, cache=each.cache.copy())
                if any(each is other for other in now_closed)
                else each
                for each in closed
            ]
        scores[:, closing_id] = -np.inf
        following = [
            (live[place], byte_id, score) for place, byte_id, score in _largest(scores, num_beams)
        ]
        if not following or (
            len(closed) == num_beams and closed[-1].log_likelihood >= following[0][2]
        ):
            break
        live = [
            _Beam((*beam.ids, byte_id), score, constraint.advance(beam.state, byte_id), mine)
            for (beam, byte_id, score), mine in zip(following, _caches(following), strict=True)
        ]
    if closing_id == EOS:
        return closed
    return [replace(beam, state=constraint.advance(beam.state, closing_id)) for beam in closed]


def _largest(scores: np.ndarray, count: int) -> Iterator[tuple[int, int, float]]:
    """Row, column and value of the largest scores (R, C), the largest first."""
    flat = scores.ravel()
    count = min(count, int(np.isfinite(flat).sum()))
    if count == 0:
        return
    found = np.argpartition(-flat, count - 1)[:count]
    for place in found[np.argsort(-flat[found], kind="stable")].tolist():
        yield place // scores.shape[1], place % scores.shape[1], float(flat[place])


def _caches(following: list[tuple[_Beam, int, float]]) -> Iterator[SlotCache]:
    """A cache for each beam that goes on; only where one divides is it copied."""
    taken: set[int] = set()
    for beam, _, _ in following:
        yield beam.cache.copy() if id(beam) in taken else beam.cache
        taken.add(id(beam))


__all__ = ["Hypothesis", "beam_search"]
