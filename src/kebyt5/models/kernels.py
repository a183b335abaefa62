"""Calls of `csrc`: a pass of T5's decoder over a few rows, in float32 or eight bits, on a CPU.

It computes what the modules do, up to the last digits, without PyTorch's call of each of their
operations, and reads weights at the speed of memory.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_int64, c_void_p
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5LayerNorm, T5Stack

from .fused import RMSNorm, is_hooked
from .int8 import Int8Linear
from .linear import Linear
from .native import Panels, library

MAX_KERNEL_ROWS = {torch.float32: 12, torch.int8: 32}
"""Beyond it, PyTorch's and oneDNN's products are faster by more than their calls take."""

_MAX_ROWS_CACHED = 128
"""The same where the weights of a block stay in the cache and calls are most of a pass."""

_MAX_ROWS_IN_PANELS = 1024
"""The same where weights are kept a second time, as many rows want them."""

_CACHE = 8 * 2**20

_OUTS = 4
"""Outputs that the kernels compute at a time; see there."""


class _Linear(ctypes.Structure):
    _fields_ = [
        ("weight", c_void_p),
        ("scales", c_void_p),
        ("sums", c_void_p),
        ("outs", c_int64),
        ("width", c_int64),
        ("panels", c_void_p),
    ]


_NORMS = ("own_norm", "cross_norm", "feed_forward_norm")
_LINEARS = ("q", "k", "v", "o", "cross_q", "cross_o", "wi_0", "wi_1", "wo")


class _Layer(ctypes.Structure):
    _fields_ = [*((name, c_void_p) for name in _NORMS), *((name, _Linear) for name in _LINEARS)]


class _Decoder(ctypes.Structure):
    _fields_ = [
        ("layers", c_void_p),
        ("count", c_int64),
        ("width", c_int64),
        ("heads", c_int64),
        ("d_kv", c_int64),
        ("d_ff", c_int64),
        ("final_norm", c_void_p),
        ("epsilon", c_double),
    ]


class UnfitError(Exception):
    """A stack has something that the kernels do not compute, such as an adapter."""


class DecoderKernel:
    """A decoder's blocks and final norm in one call.

    Keeps the addresses of weights, and copies of some, so they must stay where and what they are.

    Args:
        stack: A decoder.

    Attributes:
        max_rows: Of a pass that is faster than by modules.

    Raises:
        UnfitError: The kernels are not for this machine or this stack.
    """

    def __init__(self, stack: T5Stack) -> None:
        self._decode = _library().decode
        self._alive: list[Any] = []
        config = stack.config
        blocks = stack.block
        first = blocks[0].layer[0].SelfAttention.q
        is_int8 = type(first) is Int8Linear
        is_cached = sum(each.nbytes for each in _tensors(blocks[0])) <= _CACHE
        self._in_panels = Panels.are_fastest(first.weight) if is_int8 else is_cached
        if config.dense_act_fn not in ("gelu_new", "gelu_pytorch_tanh"):
            raise UnfitError(f"the activation {config.dense_act_fn}")
        layers = (_Layer * len(blocks))(*(self._layer(block) for block in blocks))
        self._alive.append(layers)
        self._decoder = _Decoder(
            ctypes.addressof(layers),
            len(layers),
            config.d_model,
            config.num_heads,
            config.d_kv,
            config.d_ff,
            self._norm(stack.final_layer_norm),
            config.layer_norm_epsilon,
        )
        self.max_rows = MAX_KERNEL_ROWS[torch.int8 if is_int8 else torch.float32]
        if is_cached:
            self.max_rows = _MAX_ROWS_CACHED
        if layers[0].q.panels:
            self.max_rows = _MAX_ROWS_IN_PANELS

    def decode(
        self, hidden: Tensor, own: np.ndarray, cross: np.ndarray, bias: Tensor, middle: int
    ) -> Tensor:
        """Runs one pass and writes its keys and values behind those that count.

        Args:
            hidden: Embeddings (rows, D), which are overwritten.
            own: For each request where its keys and values (layers, 2, heads, capacity, d_kv)
                are, their capacity, how many count, the first row of the pass that is the
                request's, and how many are: (requests, 5), int64.
            cross: Likewise for those over its input.
            bias: (heads, distances) by key minus query, from -middle on.
            middle: See there.

        Returns:
            Hidden states (rows, D) behind the final norm.
        """
        done = self._decode(
            ctypes.byref(self._decoder),
            c_void_p(own.ctypes.data),
            c_void_p(cross.ctypes.data),
            c_int64(len(own)),
            c_void_p(bias.data_ptr()),
            c_int64(bias.stride(0)),
            c_int64(middle),
            c_void_p(hidden.data_ptr()),
            c_int64(len(hidden)),
            c_int64(torch.get_num_threads()),
        )
        if not done:
            raise MemoryError("no memory for a pass of the decoder")
        return hidden

    def _layer(self, block: Any) -> _Layer:
        own, cross, feed_forward = block.layer
        inner = feed_forward.DenseReluDense
        if not hasattr(inner, "wi_0"):
            raise UnfitError("a feed-forward layer without a gate")
        attention, over = own.SelfAttention, cross.EncDecAttention
        linears = [
            *(getattr(attention, name) for name in ("q", "k", "v", "o")),
            *(getattr(over, name) for name in ("q", "o")),
            *(getattr(inner, name) for name in ("wi_0", "wi_1", "wo")),
        ]
        if len({type(module) is Int8Linear for module in linears}) > 1:
            raise UnfitError("layers of eight bits and others")
        if any(is_hooked(module) for module in block.modules()):
            raise UnfitError("something waits for a module to run")
        return _Layer(
            *(self._norm(layer.layer_norm) for layer in block.layer),
            *(_linear(module, self._alive, self._in_panels) for module in linears),
        )

    def _norm(self, module: Any) -> int:
        if type(module) not in (T5LayerNorm, RMSNorm):
            raise UnfitError(f"a norm of type {type(module).__name__}")
        return _address(module.weight, torch.float32, self._alive)


class ProductKernel:
    """A linear layer of few rows, in float32 or eight bits, at the speed of memory.

    Keeps the addresses of weights, which must stay where they are.

    Args:
        layer: Without a bias.

    Raises:
        UnfitError: The kernels are not for this machine or this layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._alive: list[Any] = []
        self._layer = _linear(layer, self._alive)
        self._multiply = _library().multiply_rows

    def __call__(self, x: Tensor) -> Tensor:
        """Maps rows (M, K) of float32 to (M, N)."""
        x = x.contiguous()
        out = x.new_empty(len(x), self._layer.outs)
        done = self._multiply(
            ctypes.byref(self._layer),
            c_void_p(x.data_ptr()),
            c_int64(len(x)),
            c_void_p(out.data_ptr()),
            c_int64(torch.get_num_threads()),
        )
        if not done:
            raise MemoryError("no memory for the rows of a product")
        return out


def _library() -> ctypes.CDLL:
    kernels = library()
    if kernels is None:
        raise UnfitError("there are no kernels for this machine")
    return kernels


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


def _linear(module: Any, alive: list[Any], in_panels: bool = False) -> _Linear:
    is_float = type(module) in (nn.Linear, Linear) and module.bias is None
    if not is_float and type(module) is not Int8Linear:
        raise UnfitError(f"a layer of type {type(module).__name__}, or with a bias")
    outs, width = module.weight.shape
    if outs % _OUTS:
        raise UnfitError(f"a layer with {outs} outputs")
    scales = sums = panels = None
    weight = _address(module.weight, torch.float32 if is_float else torch.int8, alive)
    if not is_float:
        scales = _address(module.scale, torch.float32, alive)
        sums = _address(module.weight.sum(dim=1, dtype=torch.int32), torch.int32, alive)
    if in_panels and Panels.fit(module.weight):
        alive.append(Panels(module.weight.detach()) if is_float else module.panels())
        panels = ctypes.addressof(alive[-1].structure)
    return _Linear(weight, scales, sums, outs, width, panels)


def _address(tensor: Tensor, dtype: torch.dtype, alive: list[Any]) -> int:
    """Where a tensor is, which is alive there."""
    is_plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    if not is_plain or tensor.device.type != "cpu" or tensor.dtype != dtype:
        raise UnfitError(f"a weight of {tensor.dtype} on {tensor.device}")
    if not tensor.is_contiguous():
        raise UnfitError("a weight that is not contiguous")
    alive.append(tensor)
    return tensor.data_ptr()


__all__ = ["MAX_KERNEL_ROWS", "DecoderKernel", "ProductKernel", "UnfitError"]
