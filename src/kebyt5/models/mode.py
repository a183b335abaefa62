"""Switches models between training and evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Has a model in evaluation mode within the block, and as it was behind it.

    Args:
        model: Of any wrapping. All its parts get the mode that it has as a whole.
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


__all__ = ["evaluating"]
