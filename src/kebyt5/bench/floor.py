"""The floor of a step: the least time of its matrix products at the rates of this machine.

A product of shape (m, k) x (k, n) takes its 2mnk operations over the rate measured for exactly
that shape and layout, or the bytes that it has to read from memory over the measured bandwidth,
whichever is longer. The floor of a step is the sum over its products (`models.products`).
Everything that is not a matrix product, and everything that is computed twice, is overhead of the
implementation. The bytes are those of weights and, when decoding byte by byte, of cached keys and
values; activations may stay in the processor's cache.
"""

import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import T5Config

from kebyt5.bench.measure import seconds_of
from kebyt5.models.products import (
    FLOAT_BYTES,
    Gemm,
    Product,
    cross_products,
    decoder_products,
    encoder_products,
    positions,
    training_products,
)

_MIN_SECONDS = 0.005
"""Shortest measurement of a rate; shorter products are repeated."""

_MAX_RESULT = 2**29
"""Largest result, in bytes, that is computed to measure the rate of many small products."""


class Machine:
    """The current rates of this machine, measured once each, and again after `forget`."""

    def __init__(self) -> None:
        self._seconds: dict[Gemm, float] = {}
        self._bandwidth: float | None = None
        self.rates: list[float] = []
        self.bandwidths: list[float] = []

    def forget(self) -> None:
        """Discards all measurements, as at the beginning of a round."""
        self._seconds.clear()
        self._bandwidth = None

    def seconds(self, gemm: Gemm) -> float:
        """Returns the seconds that a product takes."""
        if gemm not in self._seconds:
            self._seconds[gemm] = measure_gemm(gemm)
            self.rates.append(gemm.flops / self._seconds[gemm])
        return self._seconds[gemm]

    @property
    def bandwidth(self) -> float:
        """Bytes per second that a matrix-vector product reads from memory."""
        if self._bandwidth is None:
            self._bandwidth = measure_bandwidth()
            self.bandwidths.append(self._bandwidth)
        return self._bandwidth

    def floor(self, products: Sequence[Product], backward: bool) -> float:
        """Computes the least seconds that the products take together."""
        total = 0.0
        for product in products:
            least = product.bytes_per_pass / self.bandwidth
            for gemm in product.passes(backward):
                total += product.count * max(self.seconds(gemm), least)
        return total


def measure_gemm(gemm: Gemm) -> float:
    """Measures the seconds of one product, with factors ready and the result allocated."""
    # A part of many equal products runs at the same rate, and all might not fit in memory.
    part = min(gemm.batch, max(8, _MAX_RESULT // (FLOAT_BYTES * gemm.m * gemm.n)))
    a = _factor(part, gemm.m, gemm.k, gemm.layout[0] == "t")
    b = _factor(part, gemm.k, gemm.n, gemm.layout[1] == "t")
    result = torch.full((part, gemm.m, gemm.n), 0.5)
    if part == 1:
        a, b, result = a[0], b[0], result[0]
    repetitions = 1
    while True:
        began = time.perf_counter()
        for _ in range(repetitions):
            torch.matmul(a, b, out=result)
        seconds = time.perf_counter() - began
        if seconds >= _MIN_SECONDS:
            return seconds / repetitions * gemm.batch / part
        repetitions *= 2


def _factor(batch: int, rows: int, columns: int, transposed: bool) -> Tensor:
    shape = (batch, columns, rows) if transposed else (batch, rows, columns)
    factor = torch.full(shape, 0.5)
    return factor.transpose(1, 2) if transposed else factor


def measure_bandwidth(size: int = 2**28) -> float:
    """Measures the bytes per second that a float32 matrix-vector product reads from memory."""
    matrix = torch.full((size // FLOAT_BYTES // 4096, 4096), 0.5)
    vector = torch.full((4096,), 0.5)
    torch.mv(matrix, vector)
    # The best of three, like the passes that are compared with it.
    return size / min(seconds_of(partial(torch.mv, matrix, vector)) for _ in range(3))


def floor_parts(
    machine: Machine, measure: str, config: T5Config, lengths: tuple[int, int, int]
) -> dict[str, float]:
    """Computes the floor of each part of a measure.

    Args:
        machine: Rates of the machine.
        measure: "train", "encode", "generate" or "copy".
        config: Configuration of the model.
        lengths: Batch size, input bytes, output bytes.
    """
    batch, length, outputs = lengths
    n = positions(config, length)
    if measure == "train":
        return {"step": machine.floor(training_products(config, *lengths), backward=True)}
    encode = machine.floor(encoder_products(config, batch, n), backward=False)
    if measure == "encode":
        return {"encode": encode}
    # On average half of the output is cached.
    step = decoder_products(config, batch, n, 1, cached=outputs // 2)
    byte = machine.floor(step, backward=False)
    first = encode + machine.floor(cross_products(config, batch, n), backward=False)
    return {"encode": first, "byte": byte, "total": first + outputs * byte}
