"""Measuring how fast one core makes training examples from byte shards."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kebyt5.bench.measure import interleave
from kebyt5.bench.workload import hangul
from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.pretraining.examples import Examples, Share
from kebyt5.pretraining.spans import SpanCorruption

KINDS: Mapping[str, Mapping[str, Any]] = {
    "1,024 ids, 15 % masked": {},
    "the same, a fifth to be copied": {"copies": Share(0.2)},
    "the same, spans of whole characters": {"corruption": SpanCorruption(whole_characters=True)},
    "the same, half of them short": {"short": 0.5},
    "512 ids, 25 % masked": {"input_length": 512, "corruption": SpanCorruption(density=0.25)},
}
"""Kinds of examples by name, as settings of `Examples`."""


TOGETHER = 512
"""Examples per call. For small batches the overhead of the array operations dominates: with 128
examples per call, making them is half as fast."""

_BATCHES = 5  # per round


def bench_examples(corpus: Path | None, rounds: int) -> dict[str, list[float]]:
    """Makes batches of each of `KINDS` in one thread, interleaved.

    Args:
        corpus: Folder of `kebyt5 corpus build`; None for 30 MB of random Hangul.
        rounds: Number of rounds.

    Returns:
        MB (10^6 bytes) of text read per second for each kind, one value per round.
    """
    with TemporaryDirectory() as temporary:
        if corpus is None:
            with ShardWriter(Path(temporary) / "hangul", "0") as writer:
                for seed in range(10_000):
                    writer.write(hangul(3_000, seed))
        shards = Shards(corpus / "train" if corpus else Path(temporary))
        makers = {name: Examples(shards, **settings) for name, settings in KINDS.items()}
        indices = np.arange(_BATCHES * TOGETHER).reshape(_BATCHES, TOGETHER)
        seconds = interleave(
            {name: partial(_make, examples, indices) for name, examples in makers.items()}, rounds
        )
    return {
        name: [
            examples.mean_bytes(indices.size) * indices.size / 1e6 / value
            for value in seconds[name]
        ]
        for name, examples in makers.items()
    }


def _make(examples: Examples, indices: np.ndarray) -> None:
    for batch in indices:
        examples.batch(batch)
