"""Comparing loss curves of equivalent alternatives, to verify that optimization kept them correct.

Comparing a single loss would not suffice: slightly wrong gradients, or too much noise, only show in
the course of training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count, islice

import numpy as np
import torch

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.weights import Weights
from kebyt5.bench.workload import SENTENCES, Batch
from kebyt5.errors import InputError
from kebyt5.models.modeling_kebyt5 import IGNORED
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.progress import progress_bars
from kebyt5.tasks import get_task

_LEARNING_RATE = 1e-3
_SEED = 0


@dataclass(frozen=True)
class LossCurves:
    """The losses of the same training by several alternatives.

    Attributes:
        losses: Loss of every step in nats per target id, by name of the alternative.
    """

    losses: dict[str, list[float]]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yields all pairs of alternatives that compute the same."""
        for name, other in combinations(self.losses, 2):
            if ALTERNATIVES[name].has_gbst == ALTERNATIVES[other].has_gbst:
                yield name, other

    def apart(self, name: str, other: str) -> list[float]:
        """Computes the relative difference of two curves at every step."""
        one, two = (np.array(self.losses[n]) for n in (name, other))
        return (np.abs(one - two) / two).tolist()


def train_alternatives(
    size: str, names: Sequence[str], steps: int, batch_size: int = 8
) -> LossCurves:
    """Trains each alternative from the same weights on the same batches with AdamW, no dropout.

    The task is to tag entities in sentences written for this project, padded to the longest one of
    a batch.

    Args:
        size: One of `weights.SIZES`.
        names: Names of alternatives; those that cannot train are left out.
        steps: Number of steps.
        batch_size: Sentences per step.

    Raises:
        InputError: None of the alternatives can train.
    """
    names = [name for name in names if "train" in ALTERNATIVES[name].does]
    if not names:
        raise InputError("none of these alternatives can train; name others")
    losses: dict[str, list[float]] = {name: [] for name in names}
    with progress_bars() as progress:
        for name in names:
            task = progress.add_task(name, total=steps)
            weights = Weights.draw(size)
            runner = ALTERNATIVES[name](weights)
            parameters = list(dict.fromkeys(weights.tensors.values()))
            optimizer = torch.optim.AdamW(parameters, _LEARNING_RATE)
            for batch in islice(_batches(batch_size), steps):
                losses[name].append(float(runner.train(batch)))
                optimizer.step()
                progress.advance(task)
    return LossCurves(losses)


def _batches(size: int) -> Iterator[Batch]:
    """Yields batches of tagged sentences without end, in a new order in each pass over them."""
    ner = get_task("ner")
    examples = list(ner.read(SENTENCES))
    tokenizer = ByteTokenizer()
    for epoch in count():
        order = np.random.default_rng((_SEED, epoch)).permutation(len(examples))
        for begin in range(0, len(order) - size + 1, size):
            chosen = [examples[i] for i in order[begin : begin + size]]
            sources, targets = (
                tokenizer([text(e) for e in chosen], padding=True, return_tensors="pt")
                for text in (ner.input_text, ner.target_text)
            )
            labels = targets.input_ids.masked_fill(targets.attention_mask == 0, IGNORED)
            yield Batch(sources.input_ids, sources.attention_mask, labels)
