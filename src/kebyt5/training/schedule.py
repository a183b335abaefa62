"""Learning rate schedules, as shares of the peak.

The published runs used cosine cycles with decaying peaks; pretraining and fine-tuning share them.
"""

import math


def cosine_cycles(
    step: int, steps: int, cycles: int, decay: float, floor: float, warmup: int = 0
) -> float:
    """Cosine cycles with decaying peaks: the learning rate of a step as a share of the peak.

    Cycle c falls along a cosine from `decay ** c` to `floor`. Transformers has no schedule whose
    peaks decay.

    Args:
        step: Number of the step, from 0.
        steps: Steps of the whole run; beyond them the rate stays at the floor.
        cycles: Number of cosine cycles.
        decay: Ratio of each peak to the previous one.
        floor: Lowest rate, as a share of the peak.
        warmup: Steps of linear growth before the first cycle, counted in `steps`.
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
    """Linear growth during the warm-up, then the peak."""
    return (step + 1) / (warmup + 1) if step < warmup else 1.0


def inverse_square_root(step: int, warmup: int = 0) -> float:
    """Linear growth during the warm-up, then inverse square root decay (T5)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return math.sqrt((warmup + 1) / (step + 1))
