"""A block of an encoder whose weights have eight bits, in one call.

Between products of eight bits everything is small: a norm, a rounding, a gate take longer to call
and to write to memory than to compute. `csrc/encoder.c` computes each where its input still lies in
the cache.
"""

import ctypes
from ctypes import c_double, c_int64, c_void_p
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.models.t5 import modeling_t5
from transformers.models.t5.modeling_t5 import T5LayerNorm

from .attention import Segments
from .fused import RMSNorm, is_hooked
from .int8 import Int8Linear
from .native import Panels, PanelsStructure, call, use_native


# Of the same name as the original, by which FSDP and device maps find the layers of a model.
class T5Block(modeling_t5.T5Block):
    """A block that is one call where it is an encoder's, packed and of eight bits."""

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
        """As in Transformers; see `ByteAttention` for `segments` and `position_bias`."""
        if segments is None:
            return super().forward(hidden_states, attention_mask, position_bias, *others, **options)
        if self.is_decoder or self.training or not use_native(hidden_states) or not self._fits():
            return super().forward(
                hidden_states, attention_mask, position_bias, *others, segments=segments, **options
            )
        if position_bias is None:
            attention = self.layer[0].SelfAttention
            position_bias = attention.bias_table(max(segments.own.queries, default=1))
        assert self._kernel is not None
        return self._kernel(hidden_states, position_bias, segments), position_bias, None

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the kernel, which a copy makes anew: it has addresses of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_kernel"}

    def _fits(self) -> bool:
        """Whether the block has nothing that its kernel, made where there is none, leaves out."""
        parts = _Parts.of(self)
        if parts is None or any(is_hooked(module) for module in self.modules()):
            return False
        if self._kernel is None or self._kernel.parts != parts:
            self._kernel = _Kernel(parts, self.layer[0].SelfAttention.key_value_proj_dim)
        return True


class _Parts(NamedTuple):
    """The modules of a block of eight bits."""

    norms: tuple[T5LayerNorm, T5LayerNorm]
    projections: tuple[Int8Linear, Int8Linear, Int8Linear]
    rest: tuple[Int8Linear, Int8Linear, Int8Linear, Int8Linear]

    @classmethod
    def of(cls, block: modeling_t5.T5Block) -> "_Parts | None":
        """None where one of them is another."""
        first, second = block.layer
        attention, inner = first.SelfAttention, second.DenseReluDense
        if not isinstance(getattr(inner, "act", None), NewGELUActivation):
            return None
        parts = cls(
            (first.layer_norm, second.layer_norm),
            (attention.q, attention.k, attention.v),
            (attention.o, *(getattr(inner, name, None) for name in ("wi_0", "wi_1", "wo"))),
        )
        linears = (*parts.projections, *parts.rest)
        is_fit = (
            all(type(norm) in (T5LayerNorm, RMSNorm) and _is_plain(norm) for norm in parts.norms)
            and all(type(linear) is Int8Linear for linear in linears)
            and all(Panels.are_fastest(linear.weight) for linear in linears)
        )
        return parts if is_fit else None


def _is_plain(norm: nn.Module) -> bool:
    weight = norm.weight
    return type(weight) in (Tensor, nn.Parameter) and weight.dtype == torch.float32


class _Block(ctypes.Structure):
    _fields_ = [
        ("own_norm", c_void_p),
        ("feed_forward_norm", c_void_p),
        *((name, PanelsStructure) for name in ("projections", "o", "wi_0", "wi_1", "wo")),
        *((name, c_int64) for name in ("width", "heads", "d_kv", "d_ff")),
        ("epsilon", c_double),
    ]


class _Kernel:
    """Keeps the addresses of weights, which must stay where they are."""

    def __init__(self, parts: _Parts, d_kv: int) -> None:
        self.parts = parts
        self._panels = [Int8Linear.joined(parts.projections), *parts.rest]
        o, wi_0, *_ = parts.rest
        self._block = _Block(
            *(norm.weight.data_ptr() for norm in parts.norms),
            *(layer.panels().structure for layer in self._panels),
            len(o.scale),
            o.weight.shape[1] // d_kv,
            d_kv,
            len(wi_0.scale),
            parts.norms[0].variance_epsilon,
        )

    def __call__(self, states: Tensor, table: Tensor, segments: Segments) -> Tensor:
        """Maps packed states (1, N, D) to (1, N, D)."""
        states = states.clone(memory_format=torch.contiguous_format)
        starts = torch.tensor([0, *accumulate(segments.own.queries)])
        bias = table.flip(1)  # csrc has it by key minus query
        done = call(
            "encode_block",
            self._block,
            states,
            states.shape[1],
            starts,
            len(starts) - 1,
            bias,
            bias.shape[1],
            bias.shape[1] // 2,
        )
        if not done:
            raise MemoryError(f"no memory for {states.shape[1]} positions of the encoder")
        return states


__all__ = ["T5Block"]
