"""Compiled passes of T5's decoder over a few rows, in float32 or int8, on a CPU.

They compute what the modules do, up to the last digits, without one PyTorch call per operation,
and read weights at the speed of memory.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_int64, c_void_p
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.models.t5.modeling_t5 import T5LayerNorm, T5Stack

from .hooks import is_hooked
from .int8 import Int8Linear
from .linear import Linear
from .native import Panels, call, is_compiled, is_readable
from .norm import RMSNorm

MAX_KERNEL_ROWS = 32
"""Most rows for which this kernel is faster than PyTorch."""

_MAX_ROWS_CACHED = 128
"""The same where a block's weights stay in the cache and call overhead dominates."""

_MAX_ROWS_IN_PANELS = 1024
"""The same where a second copy of the weights is kept in panels."""

_CACHE = 8 * 2**20
"""Bytes of weights that stay in the processor's cache, about."""

_OUTS = 4
"""Outputs that the kernels compute at a time; `OUTS` in csrc/vectors.h."""


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
    """Runs a decoder's blocks and final norm in one call.

    Holds the addresses of weights, and copies of some, so they must neither move nor change.

    Args:
        stack: A decoder.

    Attributes:
        max_rows: Most rows of a pass for which the kernel is faster than the modules.

    Raises:
        UnfitError: The kernels do not support this machine or this stack, or are switched off.
    """

    def __init__(self, stack: T5Stack) -> None:
        _require_kernels()
        self._held = _Held()
        if stack.embed_tokens.weight.dtype != torch.float32:
            raise UnfitError(f"embeddings of {stack.embed_tokens.weight.dtype}")
        config = stack.config
        blocks = stack.block
        first = blocks[0].layer[0].SelfAttention.q
        is_int8 = type(first) is Int8Linear
        is_cached = sum(each.nbytes for each in _tensors(blocks[0])) <= _CACHE
        self._in_panels = Panels.fit(first.weight) if is_int8 else is_cached
        layers = (_Layer * len(blocks))(*(self._layer(block) for block in blocks))
        self._decoder = _Decoder(
            self._held.structure(layers),
            len(layers),
            config.d_model,
            config.num_heads,
            config.d_kv,
            config.d_ff,
            self._norm(stack.final_layer_norm),
            config.layer_norm_epsilon,
        )
        self.max_rows = MAX_KERNEL_ROWS
        if is_cached:
            self.max_rows = _MAX_ROWS_CACHED
        if layers[0].q.panels:
            self.max_rows = _MAX_ROWS_IN_PANELS

    def decode(
        self, hidden: Tensor, own: np.ndarray, cross: np.ndarray, bias: Tensor, middle: int
    ) -> Tensor:
        """Runs one decoder pass in place and appends its keys and values to the caches.

        Args:
            hidden: Embeddings (rows, D), float32, contiguous; overwritten with the result.
            own: One line per request, int64 (requests, 5): address of its self-attention cache
                (layers, 2, heads, capacity, d_kv), capacity, cached positions, first row of
                `hidden` that belongs to the request, number of its rows.
            cross: The same for the cross-attention caches; cached positions are encoder states.
            bias: (heads, distances), T5's relative bias; column `middle + key - query`.
            middle: Column of distance zero.

        Returns:
            `hidden`, (rows, D), after the final norm.

        Raises:
            MemoryError: There is no memory for the pass.
        """
        requests = (own, cross, len(own))
        biases = (bias, bias.stride(0), middle)
        if not call("decode", self._decoder, *requests, *biases, hidden, len(hidden)):
            raise MemoryError("no memory for a pass of the decoder")
        return hidden

    def _layer(self, block: Any) -> _Layer:
        own, cross, feed_forward = block.layer
        inner = feed_forward.DenseReluDense
        if not hasattr(inner, "wi_0"):
            raise UnfitError("a feed-forward layer without a gate")
        if not isinstance(inner.act, NewGELUActivation | GELUTanh):
            raise UnfitError(f"the activation {type(inner.act).__name__}")
        attention, over = own.SelfAttention, cross.EncDecAttention
        linears = [
            *(getattr(attention, name) for name in ("q", "k", "v", "o")),
            *(getattr(over, name) for name in ("q", "o")),
            *(getattr(inner, name) for name in ("wi_0", "wi_1", "wo")),
        ]
        if len({type(module) is Int8Linear for module in linears}) > 1:
            raise UnfitError("some layers are int8 and some are not")
        if any(is_hooked(module) for module in block.modules()):
            raise UnfitError("a module has a forward hook")
        return _Layer(
            *(self._norm(layer.layer_norm) for layer in block.layer),
            *(self._held.linear(module, self._in_panels) for module in linears),
        )

    def _norm(self, module: Any) -> int:
        if type(module) not in (T5LayerNorm, RMSNorm):
            raise UnfitError(f"a norm of type {type(module).__name__}")
        return self._held.tensor(module.weight, torch.float32)


class ProductKernel:
    """Applies a float32 or int8 linear layer to few rows, at the speed of memory.

    Holds the addresses of weights, which must not move.

    Args:
        layer: A linear layer without a bias.

    Raises:
        UnfitError: The kernels do not support this machine or this layer, or are switched off.
    """

    def __init__(self, layer: nn.Module) -> None:
        _require_kernels()
        self._held = _Held()
        self._layer = self._held.linear(layer)

    def __call__(self, x: Tensor) -> Tensor:
        """Maps rows (M, K) of float32 to (M, N)."""
        x = x.contiguous()
        out = x.new_empty(len(x), self._layer.outs)
        if not call("multiply_rows", self._layer, x, len(x), out):
            raise MemoryError("no memory for the rows of a product")
        return out


def _require_kernels() -> None:
    if not is_compiled():
        raise UnfitError("there are no kernels for this machine, or they are switched off")


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


class _Held:
    """Hands out the addresses of tensors and structures, and keeps them alive."""

    def __init__(self) -> None:
        self._objects: list[Any] = []

    def linear(self, module: Any, in_panels: bool = False) -> _Linear:
        """Describes a linear layer to the compiled code; `in_panels` with a copy in panels."""
        is_float = type(module) in (nn.Linear, Linear) and module.bias is None
        if not is_float and type(module) is not Int8Linear:
            raise UnfitError(f"a layer of type {type(module).__name__}, or with a bias")
        if is_hooked(module):
            raise UnfitError("a layer with hooks")
        outs, width = module.weight.shape
        if outs % _OUTS:
            raise UnfitError(f"a layer with {outs} outputs")
        scales = sums = panels = None
        weight = self.tensor(module.weight, torch.float32 if is_float else torch.int8)
        if not is_float:
            scales = self.tensor(module.scale, torch.float32)
            sums = self.tensor(module.weight.sum(dim=1, dtype=torch.int32), torch.int32)
        if in_panels and Panels.fit(module.weight):
            made = Panels(module.weight.detach()) if is_float else module.panels()
            self._objects.append(made)
            panels = self.structure(made.structure)
        return _Linear(weight, scales, sums, outs, width, panels)

    def tensor(self, tensor: Tensor, dtype: torch.dtype) -> int:
        """The address of a tensor of this type."""
        if not is_readable(tensor, dtype):
            raise UnfitError(f"a weight of {tensor.dtype} on {tensor.device}")
        if not tensor.is_contiguous():
            raise UnfitError("a weight that is not contiguous")
        self._objects.append(tensor)
        return tensor.data_ptr()

    def structure(self, structure: Any) -> int:
        """The address of a structure, or an array of them."""
        self._objects.append(structure)
        return ctypes.addressof(structure)
