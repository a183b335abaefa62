"""Comparing the engine with batches in order of arrival, on requests of mixed lengths."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.engines import EngineAlternative, WithoutEnd
from kebyt5.bench.measure import interleave, return_freed_memory
from kebyt5.bench.models import Alternative
from kebyt5.bench.weights import Weights
from kebyt5.bench.workload import Batch, hangul
from kebyt5.generation import GenerationOptions
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.progress import progress_bars, track

BATCH_SIZE = 8
_SEED = 0


class Asked(NamedTuple):
    """One request: input ids (n,) and the number of bytes to generate."""

    ids: np.ndarray
    size: int


@dataclass(frozen=True)
class Queue:
    """Requests in the order of their arrival.

    Attributes:
        requests: The requests, all of which are waiting from the beginning.
    """

    requests: Sequence[Asked]

    @classmethod
    def mixed(cls, count: int, lengths: tuple[int, int], sizes: tuple[int, int]) -> "Queue":
        """Makes requests of random Hangul.

        Args:
            count: Number of requests.
            lengths: Smallest and largest input in bytes; uniformly distributed logarithms.
            sizes: Smallest and largest output in bytes; uniformly distributed.
        """
        rng = random.Random(_SEED)
        tokenizer = ByteTokenizer()
        low, high = lengths
        requests = []
        for number in range(count):
            length = round(low * (high / low) ** rng.random())
            ids = tokenizer.encode_array(hangul(length - 1, number))
            requests.append(Asked(ids, rng.randint(*sizes)))
        return cls(requests)

    @property
    def output_bytes(self) -> int:
        """Number of bytes to generate for all requests together."""
        return sum(request.size for request in self.requests)

    def batches(self) -> Iterator[tuple[Batch, int]]:
        """Yields padded batches in order of arrival, each with the largest output size in it."""
        for start in range(0, len(self.requests), BATCH_SIZE):
            part = self.requests[start : start + BATCH_SIZE]
            longest = max(len(request.ids) for request in part)
            ids = np.zeros((len(part), longest), np.int64)
            mask = np.zeros_like(ids)
            for row, request in enumerate(part):
                ids[row, : len(request.ids)] = request.ids
                mask[row, : len(request.ids)] = 1
            tensors = torch.from_numpy(ids), torch.from_numpy(mask)
            yield Batch(*tensors, tensors[0]), max(request.size for request in part)


def bench_queue(
    size: str, names: Sequence[str], queue: Queue, rounds: int
) -> dict[str, list[float]]:
    """Measures the seconds per round that each alternative takes for the whole queue.

    The engine takes all requests at once. Every other alternative generates batches of 8 in the
    order of arrival, each until its longest text is complete.

    Args:
        size: One of `weights.SIZES`.
        names: Names of alternatives.
        queue: The requests.
        rounds: Interleaved rounds, after every alternative answered a few requests.
    """
    weights = Weights.draw(size)
    runners = {name: ALTERNATIVES[name](weights) for name in names}
    for name in track(names, "Warming up"):
        answer(runners[name], Queue(queue.requests[:BATCH_SIZE]))
    cases = {name: partial(answer, runner, queue) for name, runner in runners.items()}
    return_freed_memory()
    with progress_bars() as progress:
        task = progress.add_task("queue", total=len(cases) * rounds)

        def tell(name: str) -> None:
            progress.update(task, description=name, advance=1)

        return interleave(cases, rounds, tell, warm_up=False)


def answer(runner: Alternative, queue: Queue) -> list[list[int]]:
    """Generates the output ids of all requests of a queue, in order."""
    if isinstance(runner, EngineAlternative):
        options = [
            GenerationOptions(max_new_bytes=request.size, constraint=WithoutEnd())
            for request in queue.requests
        ]
        inputs = [request.ids for request in queue.requests]
        return [generated.ids for generated in runner.engine.generate(inputs, options)]
    outputs: list[list[int]] = []
    for batch, length in queue.batches():
        outputs += runner.generate(batch, length, lambda: None)
    return [ids[: request.size] for ids, request in zip(outputs, queue.requests, strict=True)]
