"""Comparing a decoder pass with the time to read its weights, in float32 and with int8 weights.

A pass over one row takes at least as long as reading its bytes from memory: the weights, and the
keys and values of the request. With a few more rows it should hardly take longer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn

from kebyt5.bench.engines import EngineAlternative, EngineFloat32, EngineInt8
from kebyt5.bench.floor import measure_bandwidth
from kebyt5.bench.measure import Ratio, interleave_parts, ratio, seconds_of
from kebyt5.bench.weights import Weights
from kebyt5.bench.workload import random_batch
from kebyt5.generation.cache import SlotCache
from kebyt5.generation.decoder import PackedDecoder
from kebyt5.models.int8 import Int8Linear
from kebyt5.models.products import FLOAT_BYTES
from kebyt5.progress import progress_bars


@dataclass(frozen=True)
class Passes:
    """Measurements of one alternative.

    Attributes:
        title: Name of the alternative in tables.
        read: Bytes that a pass reads from memory.
        encode: Seconds of the encoder, per round.
        decode: Seconds of a pass, per round, by its number of rows.
        least: Seconds to read the bytes of a pass at the bandwidth of each round.
    """

    title: str
    read: int
    encode: list[float]
    decode: dict[int, list[float]]
    least: list[float]

    def over_bandwidth(self, rows: int) -> Ratio:
        """Returns the time of a pass relative to that of reading its bytes alone."""
        return ratio(self.decode[rows], self.least)


def bench_passes(size: str, length: int, rows: Sequence[int], rounds: int) -> list[Passes]:
    """Measures encoder and decoder passes of the GBST model with float32 and with int8 weights.

    Args:
        size: One of `weights.SIZES`.
        length: Input bytes.
        rows: Numbers of rows of a pass to measure.
        rounds: Interleaved rounds after a warm-up round.
    """
    weights = Weights.draw(size)
    batch = random_batch(1, length, 1)
    measured: dict[str, Callable[[], dict[str, float]]] = {
        "bandwidth": lambda: {"bandwidth": measure_bandwidth()}
    }
    runners: list[EngineAlternative] = [EngineFloat32(weights), EngineInt8(weights)]
    read = []
    for runner in runners:
        decoder = PackedDecoder(runner.model)
        with torch.inference_mode():
            (cache,) = decoder.cross_caches(runner.encode(batch))
        read.append(bytes_read(runner.model, cache))
        cases = {f"{n}": partial(_decode, decoder, cache, n) for n in rows}
        cases["encode"] = partial(runner.encode, batch)
        measured[runner.name] = partial(_seconds, cases)
    with progress_bars() as progress:
        task = progress.add_task("passes", total=len(measured) * (rounds + 1))
        seconds = interleave_parts(
            measured, rounds, lambda name: progress.update(task, description=name, advance=1)
        )
    rates = seconds["bandwidth"]["bandwidth"]
    return [
        Passes(
            runner.title,
            bytes_,
            seconds[runner.name]["encode"],
            {n: seconds[runner.name][f"{n}"] for n in rows},
            [bytes_ / rate for rate in rates],
        )
        for runner, bytes_ in zip(runners, read, strict=True)
    ]


def bytes_read(model: Any, cache: SlotCache) -> int:
    """Counts the bytes of the weights, keys and values that a decoder pass reads."""
    weights = 0
    for module in model.decoder.block.modules():
        if isinstance(module, (nn.Linear, Int8Linear)):
            weights += module.weight.nbytes
    # The keys and values of the input were computed beforehand.
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        weights -= attention.k.weight.nbytes + attention.v.weight.nbytes
    return weights + FLOAT_BYTES * model.lm_head.weight.numel() + cache.cross.nbytes


def _seconds(cases: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Measures each case; passes three times, of which the shortest counts, to reduce noise."""
    return {
        name: min(seconds_of(case) for _ in range(1 if name == "encode" else 3))
        for name, case in cases.items()
    }


@torch.inference_mode()
def _decode(decoder: PackedDecoder, cache: SlotCache, rows: int) -> None:
    decoder.logits(decoder.step([[3] * rows], [cache]))


def encoder_ratio(passes: Sequence[Passes]) -> Ratio:
    """Returns the speed of the encoder with int8 weights relative to float32."""
    plain, int8 = passes
    return ratio(plain.encode, int8.encode)


def milliseconds(seconds: Sequence[float]) -> str:
    """Formats the median in milliseconds."""
    return f"{1000 * median(seconds):.3g}"
