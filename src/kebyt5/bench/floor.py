"""The floor of a step: the least time of its matrix products at the rates of this machine.

A product of shape (m, k) x (k, n) takes its 2mnk operations over the rate measured for exactly
that shape and layout, or the bytes that it has to read from memory over the measured bandwidth,
whichever is longer. The floor of a step is the sum over its products. Everything that is not a
matrix product, and everything that is computed twice, is overhead of the implementation.

The floor counts the products of the blocks (including attention), of `lm_head`, and of GBST's
projection in training (at inference it folds into tables). Since mixing is linear, the projection
has to be applied only after it. GBST's consensus and mixing are not counted, since their inner
dimension is five. The bytes are those of weights and, when decoding byte by byte, of cached keys
and values; activations may stay in the processor's cache.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import T5Config

from kebyt5.bench.measure import seconds_of
from kebyt5.models.configuration_gbswt5 import GBSWT5Config

FLOAT_BYTES = 4
_MIN_SECONDS = 0.005
"""Shortest measurement of a rate; shorter products are repeated."""

_MAX_RESULT = 2**29
"""Largest result, in bytes, that is computed to measure the rate of many small products."""


@dataclass(frozen=True)
class Gemm:
    """`batch` matrix products (m, k) x (k, n).

    Attributes:
        layout: Which factors are stored transposed, as in BLAS: "nn", "nt" or "tn".
    """

    batch: int
    m: int
    n: int
    k: int
    layout: str

    @property
    def flops(self) -> int:
        """Number of floating-point operations; a multiplication and an addition count as two."""
        return 2 * self.batch * self.m * self.n * self.k


@dataclass(frozen=True)
class Product:
    """A matrix product of the forward pass, done `count` times.

    Attributes:
        name: What it computes.
        count: Number of products of that shape.
        gemm: The product.
        streams: Whether its second factor (weights or a cache) is read from memory.
    """

    name: str
    count: int
    gemm: Gemm
    streams: bool

    def passes(self, backward: bool) -> Iterator[Gemm]:
        """Yields the product itself and, with a backward pass, those of both gradients."""
        gemm = self.gemm
        yield gemm
        if backward:
            is_transposed = gemm.layout == "nt"
            yield Gemm(gemm.batch, gemm.m, gemm.k, gemm.n, "nn" if is_transposed else "nt")
            # The gradient has the memory layout of the second factor.
            rows, columns = (gemm.n, gemm.k) if is_transposed else (gemm.k, gemm.n)
            yield Gemm(gemm.batch, rows, columns, gemm.m, "tn")

    @property
    def bytes_per_pass(self) -> int:
        """Bytes that a pass has to read from memory, or write to it."""
        gemm = self.gemm
        return FLOAT_BYTES * gemm.batch * gemm.n * gemm.k if self.streams else 0


def positions(config: T5Config, length: int) -> int:
    """Returns the number of encoder positions of an input of `length` bytes."""
    d = config.downsample_factor if isinstance(config, GBSWT5Config) else 1
    return -(-length // d)


def training_products(config: T5Config, batch: int, length: int, outputs: int) -> list[Product]:
    """Lists the products of one forward pass in training.

    Args:
        config: Configuration of the model.
        batch: Number of examples.
        length: Input bytes of each example.
        outputs: Output bytes of each example.
    """
    n = positions(config, length)
    products = encoder_products(config, batch, n) + decoder_products(config, batch, n, outputs)
    products += cross_products(config, batch, n)
    if isinstance(config, GBSWT5Config):
        width = config.d_model
        products.append(_linear("GBST projection", 1, batch * n, width, width))
    return products


def encoder_products(config: T5Config, batch: int, n: int) -> list[Product]:
    """Lists the products of the encoder's blocks for n positions."""
    layers, rows = config.num_layers, batch * n
    return [
        *_projections("encoder", layers, rows, config, "qkvo"),
        *_attention("encoder", layers, batch, n, n, config),
        *_feed_forward("encoder", layers, rows, config),
    ]


def cross_products(config: T5Config, batch: int, n: int) -> list[Product]:
    """Lists the products that make the keys and values of cross-attention, once per text."""
    return _projections("cross", config.num_decoder_layers, batch * n, config, "kv")


def decoder_products(
    config: T5Config, batch: int, n: int, outputs: int, cached: int = 0
) -> list[Product]:
    """Lists the products of the decoder and of `lm_head`, except `cross_products`.

    Args:
        config: Configuration of the model.
        batch: Number of examples.
        n: Encoder positions of each example.
        outputs: Bytes decoded at once.
        cached: Bytes before them, whose keys and values are read from the cache.
    """
    layers, rows = config.num_decoder_layers, batch * outputs
    streams = outputs == 1
    return [
        *_projections("decoder", layers, rows, config, "qkvo"),
        *_attention("decoder", layers, batch, outputs, cached + outputs, config, streams),
        *_projections("cross", layers, rows, config, "qo"),
        *_attention("cross", layers, batch, outputs, n, config, streams),
        *_feed_forward("decoder", layers, rows, config),
        _linear("lm_head", 1, rows, config.d_model, config.vocab_size),
    ]


def _linear(name: str, count: int, rows: int, inputs: int, outputs: int) -> Product:
    return Product(name, count, Gemm(1, rows, outputs, inputs, "nt"), streams=True)


def _projections(name: str, layers: int, rows: int, config: T5Config, which: str) -> list[Product]:
    inner = config.num_heads * config.d_kv
    into, out = len(which.replace("o", "")), which.count("o")
    products = [_linear(f"{name} {which.replace('o', '')}", layers * into, rows, config.d_model,
                        inner)]  # fmt: skip
    if out:
        products.append(_linear(f"{name} o", layers, rows, inner, config.d_model))
    return products


def _attention(
    name: str, layers: int, batch: int, queries: int, keys: int, config: T5Config,
    streams: bool = False,
) -> list[Product]:  # fmt: skip
    heads, width = batch * config.num_heads, config.d_kv
    return [
        Product(f"{name} scores", layers, Gemm(heads, queries, keys, width, "nt"), streams),
        Product(f"{name} mixing", layers, Gemm(heads, queries, width, keys, "nn"), streams),
    ]


def _feed_forward(name: str, layers: int, rows: int, config: T5Config) -> list[Product]:
    count = 2 if config.is_gated_act else 1
    return [
        _linear(f"{name} wi", layers * count, rows, config.d_model, config.d_ff),
        _linear(f"{name} wo", layers, rows, config.d_ff, config.d_model),
    ]


def flops(products: Sequence[Product], backward: bool) -> int:
    """Counts the operations of a forward pass, or of forward and backward."""
    return sum(p.count * gemm.flops for p in products for gemm in p.passes(backward))


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


__all__ = [
    "Gemm",
    "Machine",
    "Product",
    "cross_products",
    "decoder_products",
    "encoder_products",
    "floor_parts",
    "flops",
    "positions",
    "training_products",
]
