"""Chooses an id by its logits: the best one, or a sample that depends on seed and position only."""

from typing import NamedTuple

import numpy as np

TIE = 1e-5
"""Two logits nearer than this count as a tie."""

DOUBT = 1e-5
"""Share of the largest logit of a byte: in float32, two logits closer than this may swap places in
a pass of another shape.

Measured: passes of 1 and of 8 rows differed by 2e-5 for a model of six layers of 768 dimensions
whose logits had standard deviation 4, hence maxima of about 13. Either logit may be off by that.
"""


class Scores(NamedTuple):
    """Logits of some rows, with what greedy search needs of each.

    Attributes:
        logits: (rows, V).
        best: (rows,), the id with the largest logit, the first of equals.
        lead: (rows,), the difference of the largest and the second largest logit.
        largest: (rows,), the largest absolute value of a logit.
    """

    logits: np.ndarray
    best: np.ndarray
    lead: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray) -> "Scores":
        """Computes the scores of logits (rows, V)."""
        best = logits.argmax(axis=1)[:, None]
        first = np.take_along_axis(logits, best, axis=1)
        others = logits.copy()
        np.put_along_axis(others, best, -np.inf, axis=1)
        lead = first[:, 0] - others.max(axis=1)
        return cls(logits, best[:, 0], lead, np.maximum(first[:, 0], -logits.min(axis=1)))

    def rows(self, first: int, end: int) -> "Scores":
        """The rows from `first` to before `end`."""
        return Scores(*(each[first:end] for each in self))


def best(logits: np.ndarray) -> tuple[int, float]:
    """The id with the largest logit (V,), the first of equals, and its lead over the next one."""
    return int(logits.argmax()), _lead(logits)


def draw(
    logits: np.ndarray, temperature: float, top_p: float, seed: int, position: int
) -> tuple[int, float]:
    """Draws an id with probability softmax(logits / temperature), cut to the nucleus.

    The noise is a function of seed and position alone (Philox, a counter-based generator), so it
    depends neither on other requests nor on drafts.

    Args:
        logits: (V,), minus infinity for ids that are not allowed.
        temperature: Sampling temperature, above 0.
        top_p: Probability of the nucleus, the fewest ids that reach it together (Holtzman et al.,
            2020); 1 for all ids.
        seed: 0 or more, below 2^64.
        position: Position of the id in the text.

    Returns:
        The id, and by how much another logit would have to rise for its id to be drawn instead; 0
        if rounding may decide what belongs to the nucleus.
    """
    below = logits.astype(np.float64) - logits.max()
    with np.errstate(over="ignore"):  # at temperatures near 0 all but the best are -inf
        scaled = np.where(below < 0, below / temperature, 0.0)
    # Each position has 2^64 blocks of the generator's counter to itself.
    philox = np.random.Philox(key=seed, counter=position << 64)
    uniform = np.random.Generator(philox).random(len(logits))
    # The argmax of logits with Gumbel noise is a sample of their softmax.
    noisy = scaled - np.log(-np.log(uniform + 2.0**-54))
    if top_p == 1:
        return int(noisy.argmax()), _lead(noisy) * temperature
    doubt = DOUBT * float(abs(logits[np.isfinite(logits)]).max()) / temperature
    inside, edge = _nucleus(scaled, top_p, doubt)
    drawn = np.where(inside, noisy, -np.inf)
    chosen = int(drawn.argmax())
    if noisy[edge].max(initial=-np.inf) >= drawn[chosen]:
        return chosen, 0.0
    return chosen, _lead(drawn) * temperature


def _lead(values: np.ndarray) -> float:
    """By how much the largest of several values exceeds the next one."""
    second, first = np.partition(values, -2)[-2:]
    return float(first - second)


def _nucleus(scaled: np.ndarray, top_p: float, doubt: float) -> tuple[np.ndarray, np.ndarray]:
    """The ids in the nucleus, and those whose membership rounding may decide, bool (V,) each.

    Each scaled logit (V,) may be off by `doubt`.
    """
    order = np.argsort(-scaled, kind="stable")
    weights = np.exp(scaled[order] - scaled[order[0]])
    before = np.empty_like(weights)
    before[order] = (np.cumsum(weights) - weights) / weights.sum()
    inside, edge = before < top_p, abs(before - top_p) < doubt
    inside[order[0]], edge[order[0]] = True, False
    least = scaled[inside].min()
    if least - scaled[~inside].max(initial=-np.inf) < doubt:
        edge |= abs(scaled - least) < doubt
    return inside, edge
