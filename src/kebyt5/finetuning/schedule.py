"""The learning rate of the published runs: cosine cycles whose peaks decay."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


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


def cosine_cycles_schedule(
    optimizer: Optimizer, steps: int, cycles: int, decay: float, floor: float, warmup: int = 0
) -> LambdaLR:
    """A scheduler for `cosine_cycles`; see there for the arguments."""
    return LambdaLR(
        optimizer, lambda step: cosine_cycles(step, steps, cycles, decay, floor, warmup)
    )


__all__ = ["cosine_cycles", "cosine_cycles_schedule"]
