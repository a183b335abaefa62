"""Settings of predictions; each field's docstring is its help on the command line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kebyt5.errors import InputError, option

if TYPE_CHECKING:  # a command need not wait for it
    from kebyt5.tasks import Task

Decoding = Literal["likelihood", "generation"]


@dataclass(kw_only=True)
class PredictOptions:
    """Settings of a prediction."""

    max_input_bytes: int | None = None
    """Largest input; longer ones are shortened and counted. The context of a question is read in
    overlapping windows, of which the likeliest answer is taken; a dialogue loses its oldest turns;
    pairs lose the end of their longest field, any other input its end. By default the task's own
    limit."""

    max_new_bytes: int | None = None
    """Largest answer; it ends there, and is counted. By default a size that suffices for the task:
    that of the sentence with marks, of a row for each word, of the longest label, and for free text
    twice the input and 256 bytes more."""

    stride: int | None = None
    """Bytes from the beginning of a window to that of the next; by default half a window."""

    strict: bool = False
    """Refuse longer inputs instead of shortening them."""

    batch_size: int = 32
    """Examples per batch."""

    num_beams: int = 1
    """Beams of a generated answer; 1 for greedy search."""

    decoding: Decoding = "likelihood"
    """For tasks with labels: take the likeliest label, or generate one byte by byte."""

    constrain: bool = False
    """Generate only what may be an answer: the sentence with marks, the rows of a parse, a label
    (with `--decoding generation`; likelihoods always give one), or any valid text. This takes fewer
    passes. Without it the model may write anything, as in the published runs; malformed answers are
    read as well as possible, and counted."""

    def __post_init__(self) -> None:
        for name in ("max_input_bytes", "max_new_bytes", "batch_size", "num_beams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{option(name)} {value}: has to be 1 or more")
        check_stride(self.stride)

    def check_effect(self, task: "Task") -> None:
        """Refuses options of generation where a task's labels are scored, so nothing is generated.

        Raises:
            InputError: One is given; the message names it.
        """
        if not task.labels or self.decoding != "likelihood":
            return
        for name in ("max_new_bytes", "num_beams", "constrain"):
            if getattr(self, name) != getattr(PredictOptions, name):
                raise InputError(
                    f"{option(name)}: the labels of {task.name} are scored, and nothing is"
                    " generated; leave it out (predict and evaluate have --decoding generation)"
                )


def check_stride(stride: int | None) -> None:
    """Refuses strides shorter than one character (4 bytes), with which windows might not advance.

    Raises:
        InputError: The stride is less than 4.
    """
    if stride is not None and stride < 4:
        raise InputError(f"--stride {stride}: has to be 4 or more, the bytes of a character")


__all__ = ["Decoding", "PredictOptions", "check_stride"]
