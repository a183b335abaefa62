"""One pass of T5's decoder over the new bytes of many requests at once.

Whatever works byte by byte (projections, feed-forward, `lm_head`) gets the rows of all requests as
one matrix, so each weight is read once per pass; attention runs for each request over its own
cache. Linear layers are applied through the model's modules, whatever their type, so models with
LoRA or quantized layers work too, and hooks on them.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.models.t5.modeling_t5 import (
    T5Attention,
    T5Block,
    T5DenseActDense,
    T5DenseGatedActDense,
    T5LayerCrossAttention,
    T5LayerFF,
    T5LayerNorm,
    T5LayerSelfAttention,
)

from kebyt5.generation.attention import RelativeBias, SlotAttention
from kebyt5.generation.cache import SlotCache
from kebyt5.generation.skinny import SkinnyLinear
from kebyt5.models.decoder_kernel import (
    MAX_KERNEL_ROWS,
    DecoderKernel,
    ProductKernel,
    UnfitError,
)
from kebyt5.models.feed_forward import gate_values
from kebyt5.models.hooks import changes_output

_COMPUTED = (
    nn.Dropout,
    T5Block,
    T5LayerSelfAttention,
    T5LayerCrossAttention,
    T5LayerFF,
    T5LayerNorm,
    T5Attention,
    T5DenseActDense,
    T5DenseGatedActDense,
)
"""Modules whose `forward` is not called."""


def require_supported(model: PreTrainedModel) -> None:
    """Refuses a model of which `PackedDecoder` would pass something over.

    Raises:
        ValueError: The model is in training mode, has weights that are not in memory, or hooks in
            its decoder on other modules than linear layers and embeddings.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("the model is in training mode, where dropout is random; call its eval()")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("weights are offloaded; the engine needs all of them in memory")
    for name, module in model.decoder.named_modules(prefix="decoder"):
        if module is model.decoder:  # a hook before it may look on, as the server's does
            is_passed_over = changes_output(module)
        else:
            is_passed_over = isinstance(module, _COMPUTED) and (
                changes_output(module) or bool(module._forward_pre_hooks)
            )
        if is_passed_over:
            raise ValueError(
                f"{name} has hooks, which the engine would not run; remove them, or use"
                " model.generate"
            )


class PackedDecoder:
    """Runs the decoder of a model pass by pass.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._stack = model.decoder
        self._heads = model.config.num_heads
        self._scale = model.config.d_model**-0.5 if model.config.scale_decoder_outputs else 1.0
        self._linear = SkinnyLinear()
        self._bias = RelativeBias(self._stack.block[0].layer[0].SelfAttention)
        self._kernel, self._head = _kernels(model)

    def cross_caches(self, states: Sequence[Tensor]) -> list[SlotCache]:
        """Makes a cache for each request, with the keys and values of its encoder states (n, D)."""
        packed = torch.cat(list(states))
        counts = [len(part) for part in states]
        layers = len(self._stack.block)
        crosses: list[Tensor] = []
        for number, block in enumerate(self._stack.block):
            attention = block.layer[1].EncDecAttention
            for kind, projected in enumerate(self._linear.each((attention.k, attention.v), packed)):
                parts = self._split(projected).split(counts)
                # Contiguous for each head, since each pass reads all of them.
                crosses = crosses or [
                    part.new_empty(layers, 2, self._heads, len(part), part.shape[2])
                    for part in parts
                ]
                for cross, part in zip(crosses, parts, strict=True):
                    cross[number, kind] = part.transpose(0, 1)
        return [SlotCache(cross) for cross in crosses]

    def step(self, ids: Sequence[Sequence[int]], caches: Sequence[SlotCache]) -> Tensor:
        """Decodes the next ids of each request and writes their keys and values.

        It leaves the caches' lengths alone; the caller advances them by what it accepts.

        Args:
            ids: For each request the ids after those in its cache, at least one.
            caches: Caches of the same requests.

        Returns:
            Hidden states (rows, D), the requests concatenated, for `logits`.
        """
        flat = torch.tensor([i for row in ids for i in row], device=self._model.device)
        counts = [len(row) for row in ids]
        for cache, rows in zip(caches, counts, strict=True):
            cache.reserve(cache.length + rows)
        self._bias.reach(max(c.length + rows for c, rows in zip(caches, counts, strict=True)))
        hidden = self._stack.embed_tokens(flat)
        if self._kernel is not None and len(flat) <= self._kernel.max_rows:
            own = _slots(counts, [each.keys_values for each in caches], [c.length for c in caches])
            over = [each.cross for each in caches]
            cross = _slots(counts, over, [each.shape[3] for each in over])
            return self._kernel.decode(hidden, own, cross, self._bias.table, self._bias.middle)
        return self._run_blocks(hidden, SlotAttention(caches, counts, self._bias))

    def logits(self, hidden: Tensor) -> Tensor:
        """Computes logits (rows, V) in float32 from hidden states (rows, D)."""
        head = self._model.lm_head
        if self._head is not None and len(hidden) <= MAX_KERNEL_ROWS:
            return self._head(hidden * self._scale)
        return self._linear(head, hidden * self._scale).float()

    def _run_blocks(self, hidden: Tensor, attend: SlotAttention) -> Tensor:
        """Runs all blocks and the final norm on embeddings (rows, D)."""
        for number, block in enumerate(self._stack.block):
            own, cross, feed_forward = block.layer
            attention = own.SelfAttention
            normed = _norm(own.layer_norm, hidden)
            projected = self._linear.each((attention.q, attention.k, attention.v), normed)
            mixed = attend.own(number, *map(self._split, projected))
            hidden = _finite(hidden + self._linear(attention.o, mixed))

            attention = cross.EncDecAttention
            query = self._linear(attention.q, _norm(cross.layer_norm, hidden))
            mixed = attend.cross(number, self._split(query))
            hidden = _finite(hidden + self._linear(attention.o, mixed))

            normed = _norm(feed_forward.layer_norm, hidden)
            hidden = _finite(hidden + self._feed_forward(feed_forward.DenseReluDense, normed))
        return _norm(self._stack.final_layer_norm, hidden)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), self._heads, -1)

    def _feed_forward(self, module: Any, x: Tensor) -> Tensor:
        if hasattr(module, "wi_0"):
            gate, value = self._linear.each((module.wi_0, module.wi_1), x)
            is_gelu = isinstance(module.act, NewGELUActivation | GELUTanh)
            x = gate_values(gate, value) if is_gelu else module.act(gate) * value
        else:
            x = module.act(self._linear(module.wi, x))
        return self._linear(module.wo, x)


def _finite(hidden: Tensor) -> Tensor:
    """Clamps what is infinite in float16, as T5 does after each layer."""
    if hidden.dtype != torch.float16:
        return hidden
    limit = torch.finfo(torch.float16).max - 1000
    return hidden.clamp(-limit, limit)


def _norm(module: Any, x: Tensor) -> Tensor:
    """T5's norm, in one call."""
    normed = F.rms_norm(x.float(), module.weight.shape, None, module.variance_epsilon)
    return module.weight * normed.to(module.weight.dtype)


def _kernels(model: Any) -> tuple[DecoderKernel | None, ProductKernel | None]:
    """The kernels of the decoder and of `lm_head`; None unless they support this model."""
    try:
        return DecoderKernel(model.decoder), ProductKernel(model.lm_head)
    except UnfitError:
        return None, None


def _slots(counts: Sequence[int], memories: Sequence[Tensor], lengths: Sequence[int]) -> np.ndarray:
    """The description of each request's cache and rows that `DecoderKernel.decode` takes."""
    firsts = accumulate(counts, initial=0)
    rows = [
        (memory.data_ptr(), memory.shape[3], length, first, count)
        for memory, length, first, count in zip(memories, lengths, firsts, counts, strict=False)
    ]
    return np.array(rows, np.int64)
