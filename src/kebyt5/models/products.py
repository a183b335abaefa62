"""Lists the matrix products of T5's passes, with GBST or without, and counts their operations.

These are the products of the blocks (including attention), of `lm_head`, and of GBST's projection
in training (at inference it folds into tables). Since mixing is linear, the projection has to be
applied only after it. GBST's consensus and mixing are not counted, since their inner dimension is
five. What is computed twice, such as recomputed activations, counts once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import T5Config

from .configuration_gbswt5 import GBSWT5Config

FLOAT_BYTES = 4


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
