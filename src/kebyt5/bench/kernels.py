"""Measuring the matrix products of a model's linear layers, by the kernel that computes them.

As in a pass, the products use the weights of all decoder blocks in turn, which therefore do not
stay in the processor's cache.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kebyt5.bench.measure import interleave
from kebyt5.bench.weights import gbst_config
from kebyt5.models.decoder_kernel import ProductKernel
from kebyt5.models.int8 import Int8Linear, quantize_rows
from kebyt5.models.linear import product
from kebyt5.models.native import library
from kebyt5.progress import progress_bars

Kernel = Callable[[Tensor], Tensor]


def _linear(layer: nn.Linear, rows: int) -> Kernel:
    return partial(F.linear, weight=layer.weight)


def _onednn(layer: nn.Linear, rows: int) -> Kernel:
    return partial(product, weight=layer.weight)


def _packed(layer: nn.Linear, rows: int) -> Kernel:
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight, rows)
    return partial(product, weight=weight)


def _int8(layer: nn.Linear, rows: int) -> Kernel:
    rounded = Int8Linear.of(layer)
    values = quantize_rows(torch.randn(rows, layer.in_features))
    return lambda x: rounded.multiply(values)


def _int8_rounding(layer: nn.Linear, rows: int) -> Kernel:
    return Int8Linear.of(layer)


def _compiled(layer: nn.Linear, rows: int) -> Kernel:
    return ProductKernel(layer)


def _compiled_int8(layer: nn.Linear, rows: int) -> Kernel:
    return ProductKernel(Int8Linear.of(layer))


KERNELS: dict[str, Callable[[nn.Linear, int], Kernel]] = {
    "F.linear": _linear,
    "oneDNN": _onednn,
    "oneDNN, packed": _packed,
    "int8": _int8,
    "int8, with rounding": _int8_rounding,
}
if library() is not None:
    KERNELS |= {"csrc": _compiled, "csrc, int8, with rounding": _compiled_int8}


def shapes(size: str) -> list[tuple[int, int]]:
    """Lists (outputs, inputs) of the linear layers that a decoder pass applies, in order."""
    config = gbst_config(size)
    width, inner, hidden = config.d_model, config.num_heads * config.d_kv, config.d_ff
    own = [(inner, width)] * 3 + [(width, inner)]
    cross = [(inner, width), (width, inner)]
    feed_forward = [(hidden, width)] * 2 + [(width, hidden)]
    return (own + cross + feed_forward) * config.num_decoder_layers


@torch.inference_mode()
def bench_kernels(size: str, rows: int, rounds: int) -> dict[str, list[float]]:
    """Measures the seconds per round of each kernel for all layers.

    Args:
        size: One of `weights.SIZES`.
        rows: Number of rows of the left factor.
        rounds: Interleaved rounds after a warm-up round.
    """
    torch.manual_seed(0)
    layers = [nn.Linear(k, n, bias=False) for n, k in shapes(size)]
    inputs = {layer.in_features: torch.randn(rows, layer.in_features) for layer in layers}

    def run(kernels: Sequence[Kernel]) -> None:
        for kernel, layer in zip(kernels, layers, strict=True):
            kernel(inputs[layer.in_features])

    cases = {
        name: partial(run, [make(layer, rows) for layer in layers])
        for name, make in KERNELS.items()
    }
    with progress_bars() as progress:
        task = progress.add_task(f"{rows} rows", total=(rounds + 1) * len(cases))
        return interleave(cases, rounds, lambda name: progress.advance(task))
