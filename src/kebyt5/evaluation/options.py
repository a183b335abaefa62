"""How answers are made; each field's docstring is its help on the command line."""

from dataclasses import dataclass
from typing import Literal

from cyclopts.types import PositiveInt

Decoding = Literal["likelihood", "constrained", "free"]


@dataclass(kw_only=True)
class PredictOptions:
    """Settings of a prediction."""

    max_input_bytes: PositiveInt = 1024
    """Longer inputs are shortened and counted: contexts of questions in overlapping windows of
    which the likeliest answer counts, dialogues by their oldest turns, others at a character."""

    stride: PositiveInt = 512
    """Bytes from the beginning of a window to that of the next."""

    strict: bool = False
    """Refuse longer inputs instead."""

    batch_size: PositiveInt = 32
    """Examples per batch."""

    num_beams: PositiveInt = 1
    """Beams of a generated answer; 1 for greedy search."""

    decoding: Decoding = "likelihood"
    """Where a task has labels: take the likeliest, generate one byte by byte, or generate freely
    and repair what is no label to the nearest, which is counted."""


__all__ = ["Decoding", "PredictOptions"]
