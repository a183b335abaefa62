"""An encoder block in one compiled call, with int8 or float32 weights.

Between int8 products, and in a small model between any products, the operations are small: a norm,
a rounding or a gate takes longer to call and to write to memory than to compute. `csrc/encoder.c`
and `csrc/encoder_float.c` compute each while its input is still in the cache.
"""

import ctypes
from ctypes import c_double, c_int64, c_void_p
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.models.t5 import modeling_t5
from transformers.models.t5.modeling_t5 import (
    T5Attention,
    T5DenseGatedActDense,
    T5LayerFF,
    T5LayerNorm,
    T5LayerSelfAttention,
)

from .attention import ByteAttention, Segments, bias_table
from .feed_forward import GatedFeedForward
from .hooks import is_hooked
from .int8 import Int8Linear
from .linear import Linear
from .native import Panels, PanelsStructure, call, is_readable, use_native
from .norm import RMSNorm

MIN_BLOCK_ROWS = 32
"""Fewest positions for which the float32 kernel, which transposes its weights, is faster."""


# Named like the original: FSDP and device maps find the layers of a model by this name.
class T5Block(modeling_t5.T5Block):
    """`T5Block` that runs as one call in a packed encoder without gradients."""

    _kernel: "_Kernel | None" = None

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        *others: Any,
        segments: Segments | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Computes what Transformers' block does; see `ByteAttention` for the packed arguments."""
        if segments is None:
            return super().forward(hidden_states, attention_mask, position_bias, *others, **options)
        kernel = self._fitting_kernel(hidden_states, segments)
        if kernel is None:
            return super().forward(
                hidden_states, attention_mask, position_bias, *others, segments=segments, **options
            )
        if position_bias is None:
            longest = max(segments.own.queries, default=1)
            position_bias = bias_table(self.layer[0].SelfAttention, longest, hidden_states.device)
        return kernel(hidden_states, position_bias, segments), position_bias, None

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the kernel, which holds addresses of this process; a copy makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_kernel"}

    def _apply(self, *arguments: Any, **options: Any) -> Any:
        self._kernel = None  # it holds the old weights
        return super()._apply(*arguments, **options)

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._kernel = None  # it holds a copy of weights that have changed

    def _fitting_kernel(self, states: Tensor, segments: Segments) -> "_Kernel | None":
        """The kernel of this block; None if it would not compute all that the modules do."""
        if self.is_decoder or self.training or not use_native(states):
            return None
        kernel = self._kernel
        if kernel is None or not kernel.is_current(self):
            parts = _Parts.of(self)
            if parts is None:  # for now: a hook may be removed again
                return None
            kernel = self._kernel = _Kernel(parts)
        if is_hooked(self) or not kernel.takes(states.shape[1]):
            return None
        is_fit = states.shape == (1, sum(segments.own.queries), kernel.width)
        return kernel if is_fit else None


class _Parts(NamedTuple):
    """The modules of a block whose linear layers are all int8 or all plain."""

    norms: tuple[T5LayerNorm, T5LayerNorm]
    projections: tuple[Any, Any, Any]
    rest: tuple[Any, Any, Any, Any]
    layer: nn.ModuleList
    attention: nn.Module
    others: tuple[nn.Module, ...]
    d_kv: int

    @classmethod
    def of(cls, block: modeling_t5.T5Block) -> "_Parts | None":
        """Reads them from a block; None if any has another type or their shapes disagree."""
        first, second = block.layer
        if type(first) is not T5LayerSelfAttention or type(second) is not T5LayerFF:
            return None
        attention, inner = first.SelfAttention, second.DenseReluDense
        if (
            type(attention) not in (T5Attention, ByteAttention)
            or type(inner) not in (T5DenseGatedActDense, GatedFeedForward)
            or type(inner.act) is not NewGELUActivation
        ):
            return None
        parts = cls(
            (first.layer_norm, second.layer_norm),
            (attention.q, attention.k, attention.v),
            (attention.o, inner.wi_0, inner.wi_1, inner.wo),
            block.layer,
            attention,
            (first, second, inner, *_idle(block)),
            attention.key_value_proj_dim,
        )
        is_fit = (
            parts._are_fit()
            and parts._have_shapes()
            and not any(map(_must_be_called, parts.modules))
        )
        return parts if is_fit else None

    def _are_fit(self) -> bool:
        """Whether compiled functions may read the norms and linear layers."""
        return (
            all(type(norm) in (T5LayerNorm, RMSNorm) for norm in self.norms)
            and (self.are_int8 or all(map(_is_plain_linear, self.linears)))
            and all(is_readable(each.weight) and each.weight.is_contiguous() for each in self.read)
            and all(Panels.fit(linear.weight) for linear in self.linears)
        )

    def _have_shapes(self) -> bool:
        """Whether the shapes agree; the C code checks none."""
        width, heads, d_kv, d_ff, epsilon = self.sizes
        attended = heads * d_kv
        shapes = [(attended, width)] * 3 + [(width, attended), *[(d_ff, width)] * 2, (width, d_ff)]
        return (
            [tuple(linear.weight.shape) for linear in self.linears] == shapes
            and all(norm.weight.shape == (width,) for norm in self.norms)
            and self.norms[1].variance_epsilon == epsilon
        )

    @property
    def sizes(self) -> tuple[int, int, int, int, float]:
        """Width, heads, d_kv, d_ff, and the epsilon of the norms."""
        o, wi_0, *_ = self.rest
        width, attended = o.weight.shape
        epsilon: float = self.norms[0].variance_epsilon
        return width, attended // self.d_kv, self.d_kv, len(wi_0.weight), epsilon

    @property
    def linears(self) -> tuple[Any, ...]:
        """All linear layers."""
        return (*self.projections, *self.rest)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All modules of the block."""
        return (*self.norms, *self.linears, self.layer, self.attention, *self.others)

    @property
    def are_int8(self) -> bool:
        """Whether all linear layers are int8."""
        return all(type(linear) is Int8Linear for linear in self.linears)

    @property
    def read(self) -> tuple[Any, ...]:
        """Those whose weights are read where they are, in float32; int8 weights are copied."""
        return self.norms if self.are_int8 else (*self.norms, *self.linears)


def _idle(block: modeling_t5.T5Block) -> list[nn.Module]:
    """Modules that the kernel does not call, but that may have hooks.

    It skips dropout and activation, and reads the bias directly.
    """
    first, second = block.layer
    inner = second.DenseReluDense
    bias = getattr(first.SelfAttention, "relative_attention_bias", None)
    return [first.dropout, second.dropout, inner.dropout, inner.act, *([bias] if bias else [])]


def _state(linear: Int8Linear) -> list[tuple[int, int]]:
    """Addresses and versions of an int8 layer's tensors, which change with their values."""
    tensors = (linear.weight, linear.scale)
    return [(each.data_ptr(), 0 if each.is_inference() else each._version) for each in tensors]


def _is_plain_linear(layer: nn.Module) -> bool:
    return type(layer) in (nn.Linear, Linear) and layer.bias is None


def _must_be_called(module: nn.Module) -> bool:
    """Whether calling the module does more than its plain computation: a hook, or dropout."""
    return is_hooked(module) or module.training


_SIZES = ("width", "heads", "d_kv", "d_ff")


class _Int8Block(ctypes.Structure):
    _fields_ = [
        ("own_norm", c_void_p),
        ("feed_forward_norm", c_void_p),
        *((name, PanelsStructure) for name in ("projections", "o", "wi_0", "wi_1", "wo")),
        *((name, c_int64) for name in _SIZES),
        ("epsilon", c_double),
    ]


class _FloatBlock(ctypes.Structure):
    _fields_ = [
        ("own_norm", c_void_p),
        ("feed_forward_norm", c_void_p),
        *((name, c_void_p) for name in ("q", "k", "v", "o", "wi_0", "wi_1", "wo")),
        *((name, c_int64) for name in _SIZES),
        ("epsilon", c_double),
    ]


class _Kernel:
    """Calls the compiled function for a block, as long as the block stays unchanged.

    It holds the addresses of float32 weights, and copies of int8 weights in panels.
    """

    def __init__(self, parts: _Parts) -> None:
        self.width, *_, self._epsilon = parts.sizes
        self._is_int8 = parts.are_int8
        self._layer = parts.layer
        # Not the block itself, which holds this kernel and would never be freed.
        self._modules = [(module, type(module)) for module in parts.modules]
        self._children = [
            (module._modules, name, child)
            for module in parts.modules
            for name, child in module._modules.items()
        ]
        self._norms = parts.norms
        self._attention, self._d_kv = parts.attention, parts.d_kv
        self._weights = [
            (each._parameters, each.weight, each.weight.data_ptr(), each.weight.shape)
            for each in parts.read
        ]
        norms = [norm.weight.data_ptr() for norm in parts.norms]
        if self._is_int8:
            joined = Int8Linear.joined(parts.projections)
            # Kept alive, as the structure holds their addresses.
            self._panels = [layer.panels() for layer in (joined, *parts.rest)]
            structures = (panels.structure for panels in self._panels)
            self._block: ctypes.Structure = _Int8Block(*norms, *structures, *parts.sizes)
            self._copied = [(each, _state(each)) for each in parts.linears]
        else:
            weights = (linear.weight.data_ptr() for linear in parts.linears)
            self._block = _FloatBlock(*norms, *weights, *parts.sizes)
            self._copied = []

    def is_current(self, block: modeling_t5.T5Block) -> bool:
        """Whether nothing about the block has changed."""
        return (
            block.layer is self._layer
            and all(
                type(module) is kind and not _must_be_called(module)
                for module, kind in self._modules
            )
            and all(modules.get(name) is child for modules, name, child in self._children)
            and all(norm.variance_epsilon == self._epsilon for norm in self._norms)
            and bool(self._attention.key_value_proj_dim == self._d_kv)
            and all(_state(each) == state for each, state in self._copied)
            and all(
                parameters.get("weight") is weight
                and (weight.data_ptr(), weight.shape) == (address, shape)
                and is_readable(weight)
                and weight.is_contiguous()
                and parameters.get("bias") is None
                for parameters, weight, address, shape in self._weights
            )
        )

    def takes(self, rows: int) -> bool:
        """Whether the kernel is the fastest for that many positions."""
        if self._is_int8:
            return True
        return rows >= MIN_BLOCK_ROWS and not torch.is_autocast_enabled("cpu")

    def __call__(self, states: Tensor, table: Tensor, segments: Segments) -> Tensor:
        """Maps packed states (1, N, D) to (1, N, D)."""
        states = states.clone(memory_format=torch.contiguous_format)
        starts = torch.tensor([0, *accumulate(segments.own.queries)], device=states.device)
        bias = table.float().flip(1)  # csrc indexes it by key minus query
        sizes = (bias.shape[1], bias.shape[1] // 2)
        function = "encode_block" if self._is_int8 else "encode_float_block"
        texts = (states, states.shape[1], starts, len(starts) - 1)
        if not call(function, self._block, *texts, bias, *sizes):
            raise MemoryError(f"no memory for {states.shape[1]} encoder positions")
        return states
