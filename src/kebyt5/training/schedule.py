"""Learning rates over a run, as shares of the peak.

Pretraining and fine-tuning share the cosine cycles whose peaks decay, those of the published runs.
"""

import math


def cosine_cycles(
    step: int, steps: int, cycles: int, decay: float, floor: float, warmup: int = 0
) -> float:
    """The learning rate of a step as a share of the peak.

    Cycle c falls along a cosine from `decay ** c` to `floor`; no stock schedule decays over
    restarts.

    Args:
        step: From 0 on.
        steps: Of the whole run; beyond it the rate stays at the floor.
        cycles: How many cosine cycles these steps are divided into.
        decay: What each peak is of the one before.
        floor: The lowest rate, as a share of the peak.
        warmup: Steps of linear growth before the first cycle, part of `steps`.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    if progress >= 1:
        return floor
    cycle, phase = divmod(progress * cycles, 1)
    peak = max(decay**cycle, floor)
    return floor + (peak - floor) * (1 + math.cos(math.pi * phase)) / 2


def constant(step: int, warmup: int = 0) -> float:
    """Linear growth over the warm-up, then the peak."""
    return (step + 1) / (warmup + 1) if step < warmup else 1.0


def inverse_square_root(step: int, warmup: int = 0) -> float:
    """Linear growth over the warm-up, then as one over the square root of the step (T5)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return math.sqrt((warmup + 1) / (step + 1))


__all__ = ["constant", "cosine_cycles", "inverse_square_root"]
