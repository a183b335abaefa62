"""How answers are made; each field's docstring is its help on the command line."""

from dataclasses import dataclass
from typing import Literal

from cyclopts.types import PositiveInt

from kebyt5.errors import InputError

Decoding = Literal["likelihood", "generation"]


@dataclass(kw_only=True)
class PredictOptions:
    """Settings of a prediction."""

    max_input_bytes: PositiveInt | None = None
    """Longer inputs are shortened and counted: contexts of questions in overlapping windows of
    which the likeliest answer counts, dialogues by their oldest turns, others at a character. The
    task's own limit where not given."""

    stride: PositiveInt | None = None
    """Bytes from the beginning of a window to that of the next; half a window where not given."""

    strict: bool = False
    """Refuse longer inputs instead."""

    batch_size: PositiveInt = 32
    """Examples per batch."""

    num_beams: PositiveInt = 1
    """Beams of a generated answer; 1 for greedy search."""

    decoding: Decoding = "likelihood"
    """Where a task has labels: take the likeliest, or generate one byte by byte."""

    constrain: bool = False
    """Generate only what an answer may be: the sentence with marks, the rows of a parse, a label,
    else any valid text. It takes fewer passes. Otherwise anything may come, as in the published
    runs; what is no answer is read as well as may be, and counted."""

    def __post_init__(self) -> None:
        check_stride(self.stride)


def check_stride(stride: int | None) -> None:
    """Refuses windows so close that one need not begin a character after the other."""
    if stride is not None and stride < 4:
        raise InputError(f"--stride {stride}: has to be 4 or more, the bytes of a character")


__all__ = ["Decoding", "PredictOptions", "check_stride"]
