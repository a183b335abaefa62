"""Encodes many inputs at once.

The encoder's blocks process the positions of all inputs concatenated, without padding
(`models/stack.py`); only GBST, a hundredth of the work, reads a padded batch. So a batch may
contain any inputs that add up to enough rows for fast matrix products.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

MAX_BATCH_BYTES = 4096
"""Most bytes in a batch; more do not make the matrix products any faster."""

MAX_WASTE = 1.5
"""Greatest ratio of the longest to the shortest input of a batch, as GBST reads padding."""

FREE_WASTE = 8
"""Bytes by which the longest may exceed that ratio, so that very short inputs batch, too."""


def batch_of_like_length(lengths: Sequence[int]) -> list[int]:
    """Chooses inputs to encode together with the first one: those nearest to it in length.

    Args:
        lengths: Length of each input in bytes; not empty.

    Returns:
        Indices of inputs, 0 among them.
    """
    near = sorted(range(len(lengths)), key=lambda i: (abs(lengths[i] - lengths[0]), i))
    chosen = near[:1]
    for i in near[1:]:
        together = [lengths[j] for j in [*chosen, i]]
        longest = MAX_WASTE * min(together) + FREE_WASTE
        if max(together) > longest or sum(together) > MAX_BATCH_BYTES:
            break
        chosen.append(i)
    return chosen


def batches_by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Divides inputs into batches of `size` with little padding, the longest first.

    Returns:
        The indices of the inputs of each batch.
    """
    longest_first = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    return [longest_first[i : i + size] for i in range(0, len(lengths), size)]


def encode(model: PreTrainedModel, inputs: Sequence[np.ndarray]) -> list[Tensor]:
    """Computes the encoder states (n, D) of each input.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: Ids of each input, (bytes,).
    """
    lengths = [len(ids) for ids in inputs]
    padded = np.zeros((len(inputs), max(lengths)), np.int64)
    mask = np.zeros_like(padded)
    for row, ids in enumerate(inputs):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    counted = torch.from_numpy(mask).to(model.device)
    encoded = model.get_encoder()(torch.from_numpy(padded).to(model.device), counted)
    # GBST has fewer positions than bytes and returns a mask of its own.
    pooled_mask = getattr(encoded, "attention_mask", None)
    sizes = lengths if pooled_mask is None else pooled_mask.sum(dim=1).tolist()
    pairs = zip(encoded.last_hidden_state, sizes, strict=True)
    return [states[:size] for states, size in pairs]
