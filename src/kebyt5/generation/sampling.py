"""Choosing one id by its logits: the best, or one drawn so that only seed and position decide."""

import numpy as np

TIE = 1e-5
"""Two logits nearer than this may come out in another order in a product of another shape."""


def best(logits: np.ndarray) -> tuple[int, bool]:
    """The id with the largest logit (V,), the first of equals, and whether another ties with it."""
    chosen = int(logits.argmax())
    return chosen, int(np.count_nonzero(logits > logits[chosen] - TIE)) > 1


def draw(
    logits: np.ndarray, temperature: float, top_p: float, seed: int, position: int
) -> tuple[int, bool]:
    """An id drawn with probability softmax(logits / temperature), cut to the nucleus.

    The noise is a function of seed and position alone (Philox, a counter-based generator), so a
    text does not depend on what else is generated beside it, nor on drafts.

    Args:
        logits: (V,), minus infinity where an id is not allowed.
        temperature: Above 0.
        top_p: Only the fewest ids that have this probability together are drawn from (Holtzman et
            al., 2020); 1 for all.
        seed: From 0 on, below 2^64.
        position: Of the id in the text.

    Returns:
        The id, and whether another one was so near that rounding may decide.
    """
    scaled = logits.astype(np.float64) / temperature
    if top_p < 1:
        scaled = _nucleus(scaled, top_p)
    # A position has 2^64 blocks of the generator's counter to itself.
    philox = np.random.Philox(key=seed, counter=position << 64)
    uniform = np.random.Generator(philox).random(len(logits))
    # The largest of logits with Gumbel noise is a draw from their softmax.
    noisy = scaled - np.log(-np.log(uniform + 2.0**-54))
    chosen = int(noisy.argmax())
    return chosen, int(np.count_nonzero(noisy > noisy[chosen] - TIE / temperature)) > 1


def _nucleus(scaled: np.ndarray, top_p: float) -> np.ndarray:
    order = np.argsort(-scaled, kind="stable")
    weights = np.exp(scaled[order] - scaled[order[0]])
    before = np.cumsum(weights) - weights
    outside = order[before >= top_p * weights.sum()]
    result = scaled.copy()
    result[outside[outside != order[0]]] = -np.inf
    return result


__all__ = ["TIE", "best", "draw"]
