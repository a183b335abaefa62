"""What the alternatives are given to do."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

HANGUL = (0xAC00, 0xD7A4)


class Batch(NamedTuple):
    """Inputs (B, L) with their mask (B, L), and labels (B, T), -100 where there is none."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def hangul(size: int, seed: int) -> str:
    """Random Hangul syllables that take `size` bytes, the last one or two of them full stops."""
    characters = np.random.default_rng(seed).integers(*HANGUL, size // 3)
    return "".join(map(chr, characters)) + "." * (size % 3)


def random_batch(batch_size: int, length: int, output_bytes: int, seed: int = 0) -> Batch:
    """Random Hangul of exactly `length` ids in and `output_bytes` out, ends of sequence included.

    Raises:
        ValueError: A length without room for the end of sequence.
    """
    if length < 1 or output_bytes < 1:
        raise ValueError(f"{length} bytes in and {output_bytes} out; both have to be positive")
    tokenizer = ByteTokenizer()

    def ids(size: int, stream: int) -> Tensor:
        seeds = range(seed + stream, seed + stream + 2 * batch_size, 2)
        return torch.tensor(tokenizer([hangul(size - 1, s) for s in seeds]).input_ids)

    inputs = ids(length, 0)
    return Batch(inputs, torch.ones_like(inputs), ids(output_bytes, 1))


__all__ = ["Batch", "hangul", "random_batch"]
