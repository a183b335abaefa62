"""Turns task examples into training batches."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset, Sampler

from kebyt5.errors import InputError
from kebyt5.evaluation.predict import fit_inputs, require_fit
from kebyt5.models.modeling_kebyt5 import IGNORED
from kebyt5.models.offsets import byte_length
from kebyt5.models.tokenization_kebyt5 import PAD, ByteTokenizer
from kebyt5.tasks import Example, Task


class TaskData(NamedTuple):
    """A task with its training and validation examples."""

    task: Task
    train: Sequence[Example]
    dev: Sequence[Example]


class TaskDataset(Dataset[dict[str, list[int]]]):
    """Encoded input and target pairs; an item is a function of (examples, seed, epoch, index).

    From several tasks, each epoch draws in proportion to size ** (1 / temperature), and goes
    through all examples of a task in a new order before any is repeated. A single task, or any
    number at temperature 1, gives each example once per epoch.

    Args:
        parts: Tasks with their examples.
        max_input_bytes: Longer inputs are truncated as `Task.fit` does, else at a character, and
            counted; None for the task's own limit. Windows without anything to learn are left out.
        max_target_bytes: Longer targets are cut at a character and counted.
        stride: Bytes between the beginnings of windows, as in `Task.fit`.
        strict: Whether to refuse longer texts instead.
        seed: Seed of the draws and of random choices in the tasks' training pairs.
        temperature: Temperature of the mixture.
        training: Whether items are training pairs; if not, targets are the gold answers.

    Raises:
        InputError: A text is over its limit, and `strict` is true.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Task, Sequence[Example]]],
        max_input_bytes: int | None,
        max_target_bytes: int,
        stride: int | None = None,
        strict: bool = False,
        seed: int = 0,
        temperature: float = 1.0,
        training: bool = True,
    ) -> None:
        self.max_input_bytes, self.max_target_bytes = max_input_bytes, max_target_bytes
        self.seed = seed
        self.training = training
        self.tokenizer = ByteTokenizer()
        self.truncated = 0
        self.items: list[tuple[Task, Example]] = []
        self.sizes: list[int] = []
        for task, examples in parts:
            before = len(self.items)
            for example in examples:
                fitted = fit_inputs(task, example, max_input_bytes, stride, strict)
                target = task.target_text(example)
                if strict:
                    require_fit(target, max_target_bytes, example.place or example.id)
                is_cut = byte_length(target) > max_target_bytes
                self.truncated += fitted.is_truncated or is_cut
                self.items += [(task, part) for part in fitted.parts if part.gold is not None]
            self.sizes.append(len(self.items) - before)
        self.counts = mixture_counts(self.sizes, temperature)
        # Close enough to the lengths of the training pairs.
        self.item_lengths = np.array(
            [len(task.input_text(e)) + len(task.target_text(e)) for task, e in self.items], int
        )
        self.set_epoch(0)

    def _texts(self, item: int, epoch: int) -> tuple[str, str]:
        task, example = self.items[item]
        pair = task.input_text(example), task.target_text(example)
        if self.training:
            seed = np.random.SeedSequence((self.seed, epoch, item)).generate_state(1)[0]
            pair = task.training_pair(example, int(seed))
        limits = (self.max_input_bytes or task.max_input_bytes, self.max_target_bytes)
        source, target = map(ByteTokenizer.truncate, pair, limits)
        return source, target

    @property
    def lengths(self) -> np.ndarray:
        """Approximate characters of input and target of this epoch's items."""
        return self.item_lengths[self.order]

    def set_epoch(self, epoch: int) -> None:
        """Draws new items and training pairs; called by the trainer."""
        self.epoch = epoch
        ends = np.cumsum(self.sizes)
        self.order = np.concatenate(
            [
                end - size + _draw(size, epoch * count, count, (self.seed, part))
                for part, (end, size, count) in enumerate(
                    zip(ends, self.sizes, self.counts, strict=True)
                )
            ]
        )

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        source, target = self._texts(int(self.order[index]), self.epoch)
        return {
            "input_ids": self.tokenizer(source).input_ids,
            # As bytes throughout, which is all that generation writes: "</s>" is no end here.
            "labels": self.tokenizer(target, split_special_tokens=True).input_ids,
        }


def hold_out(task: Task, examples: Sequence[Example], folds: int, fold: int) -> TaskData:
    """Divides examples into parts and holds one of them out.

    Examples of one group (`Task.group`) stay in one part; if each is its own group, the sizes of
    parts differ by at most one. The division depends only on the examples and `folds`.

    Args:
        task: The task of the examples.
        examples: All examples.
        folds: Number of parts.
        fold: Part to hold out as validation examples, from 0.

    Raises:
        InputError: There are fewer groups than parts.
    """
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(task.group(example), []).append(index)
    if len(groups) < folds:
        raise InputError(f"--folds {folds}: only {len(groups)} examples that can be separated")
    sizes = [0] * folds
    held_out: set[int] = set()
    names = list(groups)
    for place in np.random.default_rng(0).permutation(len(names)):
        smallest = sizes.index(min(sizes))
        sizes[smallest] += len(groups[names[place]])
        if smallest == fold:
            held_out.update(groups[names[place]])
    return TaskData(
        task,
        [example for index, example in enumerate(examples) if index not in held_out],
        [example for index, example in enumerate(examples) if index in held_out],
    )


def mixture_counts(sizes: Sequence[int], temperature: float) -> list[int]:
    """The number of examples that an epoch draws from each task; they sum to that of all examples.

    Args:
        sizes: Number of examples of each task.
        temperature: 1 for the sizes as they are; the higher, the more equal.
    """
    shares = (np.asarray(sizes, np.float64) / max(1, *sizes)) ** (1 / temperature)
    ends = np.round(np.cumsum(shares) / max(1, shares.sum()) * sum(sizes)).astype(int)
    return np.diff(ends, prepend=0).tolist()


def _draw(size: int, begin: int, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """Places `begin` to `begin + count` of an endless series of permutations of `size` items."""
    if not count:
        return np.zeros(0, int)
    first, last = begin // size, (begin + count - 1) // size
    series = [np.random.default_rng((*seed, n)).permutation(size) for n in range(first, last + 1)]
    start = begin - first * size
    return np.sort(np.concatenate(series)[start : start + count])


def collate(items: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pads a batch on the right: ids with `PAD`, labels with `IGNORED`; adds the mask."""

    def padded(rows: list[list[int]], value: int) -> torch.Tensor:
        tensors = [torch.tensor(row) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    inputs = [item["input_ids"] for item in items]
    return {
        "input_ids": padded(inputs, PAD),
        "attention_mask": padded([[1] * len(row) for row in inputs], 0),
        "labels": padded([item["labels"] for item in items], IGNORED),
    }


class LengthGroupedSampler(Sampler[int]):
    """Shuffles batches of similar length; the order is a function of (lengths, seed, epoch).

    Examples are shuffled, sorted by length within chunks of fifty batches, and the batches are
    shuffled again. As the order needs no state, a killed run can resume within an epoch.

    Args:
        lengths: One per example.
        batch_size: Examples per batch.
        seed: Seed of the order, together with the epoch.
    """

    CHUNK_BATCHES = 50

    def __init__(self, lengths: ArrayLike, batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose order comes next; called by the trainer."""
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
        # An incomplete batch stays last; elsewhere it would shift the ones after it.
        complete = [batch for batch in batches if len(batch) == self.batch_size]
        incomplete = [batch for batch in batches if len(batch) < self.batch_size]
        for batch in [complete[i] for i in rng.permutation(len(complete))] + incomplete:
            yield from batch.tolist()
