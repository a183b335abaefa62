"""Beam search: several outputs for one input, the likeliest first.

All beams share the cross-attention cache, so the encoder runs once; each carries its own state of
the constraint.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from kebyt5.generation.cache import SlotCache
from kebyt5.generation.constraints.constraint import Constraint, in_vocabulary
from kebyt5.models.tokenization_kebyt5 import EOS


@dataclass(frozen=True)
class Hypothesis:
    """An output of beam search.

    Attributes:
        ids: Ids of the output, ending with the end of sequence.
        log_likelihood: Natural logarithm of the probability of all ids, unconstrained.
    """

    ids: tuple[int, ...]
    log_likelihood: float


@dataclass(frozen=True)
class _Beam:
    ids: tuple[int, ...]  # the start of the decoder first
    log_likelihood: float
    state: Any
    cache: SlotCache  # holds all ids but the last


class _Extension(NamedTuple):
    beam: _Beam
    id: int
    log_likelihood: float  # of the beam with the id


def beam_search(
    run_pass: Callable[[list[list[int]], list[SlotCache]], Tensor],
    cache: SlotCache,
    start_id: int,
    constraint: Constraint,
    num_beams: int,
    max_new_ids: int,
    closing_ids: Sequence[int] = (EOS,),
) -> list[Hypothesis]:
    """Searches for the likeliest outputs that a constraint allows.

    The score is the log likelihood itself, without a reward for length. An output may have several
    parts, such as the spans of several blanks. Beams compete within a part only, and the likeliest
    closed beams begin the next part: compared with the cheap next bytes of an open part, closing it
    looks expensive, although every output has to pay for it sooner or later.

    Args:
        run_pass: Maps new ids of each beam and the beams' caches to the next logits (beams, V).
        cache: Cache of the input, without ids of an output.
        start_id: Id with which the decoder starts.
        constraint: What may be generated. Outputs that it never lets end are not found.
        num_beams: Maximum number of beams and of outputs.
        max_new_ids: Maximum number of ids of a part, including the id that closes it.
        closing_ids: Id that closes each part; the last is the end of sequence.

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
    """Extends beams until `closing_id`; returns the likeliest, best first.

    The search ends as soon as no open beam can become better than the closed ones.
    """
    closed: list[_Beam] = []
    for _ in range(max_new_ids if live else 0):
        logits = run_pass([[beam.ids[-1]] for beam in live], [beam.cache for beam in live])
        scores = logits.log_softmax(dim=-1).cpu().numpy().astype(np.float64)
        for row, beam in zip(scores, live, strict=True):
            beam.cache.length += 1
            row += beam.log_likelihood
            row[~in_vocabulary(constraint.allowed(beam.state), len(row))] = -np.inf
        now_closed = [
            replace(beam, ids=(*beam.ids, closing_id), log_likelihood=float(row[closing_id]))
            for row, beam in zip(scores, live, strict=True)
            if np.isfinite(row[closing_id])
        ]
        closed = sorted([*closed, *now_closed], key=lambda each: -each.log_likelihood)[:num_beams]
        if closing_id != EOS:  # the next part needs their caches, which open beams use too
            closed = [
                replace(each, cache=each.cache.copy())
                if any(each is other for other in now_closed)
                else each
                for each in closed
            ]
        scores[:, closing_id] = -np.inf
        following = [
            _Extension(live[place], byte_id, score)
            for place, byte_id, score in _largest(scores, num_beams)
        ]
        if not following or (
            len(closed) == num_beams and closed[-1].log_likelihood >= following[0].log_likelihood
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
    """Row, column and value of the `count` largest finite scores of (R, C), largest first."""
    flat = scores.ravel()
    count = min(count, int(np.isfinite(flat).sum()))
    if count == 0:
        return
    found = np.argpartition(-flat, count - 1)[:count]
    for place in found[np.argsort(-flat[found], kind="stable")].tolist():
        yield place // scores.shape[1], place % scores.shape[1], float(flat[place])


def _caches(following: Sequence[_Extension]) -> Iterator[SlotCache]:
    """A cache for each extended beam, copied only if several extend the same one."""
    taken: set[int] = set()
    for extension in following:
        beam = extension.beam
        yield beam.cache.copy() if id(beam) in taken else beam.cache
        taken.add(id(beam))


__all__ = ["Hypothesis", "beam_search"]
