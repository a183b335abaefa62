"""The inputs of benchmarks."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.tasks import get_task

HANGUL = (0xAC00, 0xD7A4)
SENTENCES = Path(__file__).parents[1] / "assets" / "sample_ner" / "train.tsv"
"""Tagged sentences that were written for this project."""


class Batch(NamedTuple):
    """Inputs (B, L) with their mask (B, L), and labels (B, T), padded with -100."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def hangul(size: int, seed: int) -> str:
    """Makes `size` bytes of random Hangul syllables, padded with full stops if necessary."""
    characters = np.random.default_rng(seed).integers(*HANGUL, size // 3)
    return "".join(map(chr, characters)) + "." * (size % 3)


def random_batch(batch_size: int, length: int, output_bytes: int) -> Batch:
    """Makes random Hangul of `length` ids in and `output_bytes` out, ends of sequence included.

    Raises:
        ValueError: A length leaves no room for the end of sequence.
    """
    if length < 1 or output_bytes < 1:
        raise ValueError(f"{length} bytes in and {output_bytes} out; both have to be positive")
    tokenizer = ByteTokenizer()

    def ids(size: int, stream: int) -> Tensor:
        seeds = range(stream, stream + 2 * batch_size, 2)
        return torch.tensor(tokenizer([hangul(size - 1, s) for s in seeds]).input_ids)

    inputs = ids(length, 0)
    return Batch(inputs, torch.ones_like(inputs), ids(output_bytes, 1))


def copying_batch(batch_size: int, length: int, output_bytes: int) -> Batch:
    """Makes prompts of the NER task of exactly `length` ids, whose answers are their sentences.

    Each input contains the sentences of `SENTENCES` in a different order.

    Raises:
        ValueError: The lengths do not fit the sentences.
    """
    ner = get_task("ner")
    examples = list(ner.read(SENTENCES))
    sentences = [e.inputs["sentence"] for e in examples]
    # Leave out sentences with runs that the prompt collapses.
    sentences = [s for s, e in zip(sentences, examples, strict=True) if s in ner.input_text(e)]
    tokenizer = ByteTokenizer()
    inputs = []
    for row in range(batch_size):
        order = np.random.default_rng(row).permutation(len(sentences))
        text = " ".join(sentences[i] for i in order).encode()
        room = length - 1 - len(ner.input_text(ner.example(sentence="")).encode())
        if room < output_bytes or len(text) < room:
            raise ValueError(f"{length} bytes in and {output_bytes} out; the copy needs room")
        sentence = text[:room].decode(errors="ignore")
        sentence += "." * (room - len(sentence.encode()))
        inputs.append(tokenizer(ner.input_text(ner.example(sentence=sentence))).input_ids)
    ids = torch.tensor(inputs)
    return Batch(ids, torch.ones_like(ids), ids[:, -output_bytes:])


def sentence_of(prompt: str) -> str:
    """Extracts the sentence from a prompt of `copying_batch`."""
    return prompt.rpartition("### 입력\n")[2].removesuffix("\n")
