"""Task examples as training batches."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from kebyt5.evaluation.evaluate import fit
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.tasks import Example, Task


class TaskDataset(Dataset[dict[str, list[int]]]):
    """Encoded input and target pairs; an item is a function of (examples, seed, epoch, index).

    Args:
        task: What makes texts of the examples.
        examples: The examples.
        max_input_bytes: Longer inputs are cut at a character boundary and counted.
        max_target_bytes: The same for targets.
        strict: Refuses longer texts instead.
        seed: Of whatever is random in the task's training pairs.
        training: Whether targets are training pairs or the evaluation's reference.
    """

    def __init__(
        self,
        task: Task,
        examples: Sequence[Example],
        max_input_bytes: int,
        max_target_bytes: int,
        strict: bool = False,
        seed: int = 0,
        training: bool = True,
    ) -> None:
        self.task = task
        self.examples = examples
        self.limits = (max_input_bytes, max_target_bytes)
        self.seed = seed
        self.training = training
        self.epoch = 0
        self.tokenizer = ByteTokenizer()
        self.lengths = []
        self.truncated = 0
        for index, example in enumerate(examples):
            pair = self._texts(index)
            fitted = [
                fit(text, limit, strict, example.place or example.id)
                for text, limit in zip(pair, self.limits, strict=True)
            ]
            self.lengths.append(sum(len(text) for text, _ in fitted))
            self.truncated += any(was_cut for _, was_cut in fitted)

    def _texts(self, index: int) -> tuple[str, str]:
        example = self.examples[index]
        if not self.training:
            return self.task.input_text(example), self.task.target_text(example)
        seed = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]
        return self.task.training_pair(example, int(seed))

    def set_epoch(self, epoch: int) -> None:
        """Draws new training pairs; called by the trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        source, target = (
            fit(text, limit, False, "")[0]
            for text, limit in zip(self._texts(index), self.limits, strict=True)
        )
        return {
            "input_ids": self.tokenizer(source).input_ids,
            "labels": self.tokenizer(target).input_ids,
        }


def collate(items: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pads a batch on the right: ids with 0 and a mask, labels with -100."""

    def padded(rows: list[list[int]], value: int) -> torch.Tensor:
        tensors = [torch.tensor(row) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    inputs = [item["input_ids"] for item in items]
    return {
        "input_ids": padded(inputs, 0),
        "attention_mask": padded([[1] * len(row) for row in inputs], 0),
        "labels": padded([item["labels"] for item in items], -100),
    }


class LengthGroupedSampler(Sampler[int]):
    """Shuffled batches of like length; the order is a function of (lengths, seed, epoch).

    Examples are shuffled, sorted by length within chunks of fifty batches, and the batches are
    shuffled again. That the order needs no state lets a killed run resume in its midst.

    Args:
        lengths: One a example.
        batch_size: Examples per batch.
        seed: With the epoch it decides the order.
    """

    CHUNK_BATCHES = 50

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next; called by the trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        chunk = self.batch_size * self.CHUNK_BATCHES
        batches: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        # An incomplete batch stays last: anywhere else it would shift the ones behind it.
        complete = [batch for batch in batches if len(batch) == self.batch_size]
        incomplete = [batch for batch in batches if len(batch) < self.batch_size]
        for batch in [complete[i] for i in rng.permutation(len(complete))] + incomplete:
            yield from batch.tolist()


__all__ = ["LengthGroupedSampler", "TaskDataset", "collate"]
