"""One pass of T5's decoder over the new bytes of many requests at once.

Whatever works byte by byte (projections, feed-forward, `lm_head`) sees the rows of all requests as
one matrix, so each weight is read once a pass; attention runs for each request over its own cache.
The weights are those of the model's modules, whatever their type, so a model with LoRA or
quantized layers decodes likewise.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from kebyt5.generation.cache import SlotCache
from kebyt5.generation.skinny import SkinnyLinear
from kebyt5.models.feed_forward import gate_values


class PackedDecoder:
    """The decoder of a model, step by step.

    Args:
        model: KEByT5, GBST-KEByT5 or ByT5.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._stack = model.decoder
        self._heads = model.config.num_heads
        self._scale = model.config.d_model**-0.5 if model.config.scale_decoder_outputs else 1.0
        self._is_gelu = model.config.dense_act_fn in ("gelu_new", "gelu_pytorch_tanh")
        self._linear = SkinnyLinear()
        self._bias = self._bias_table(0)

    def cross_caches(self, states: Sequence[Tensor]) -> list[SlotCache]:
        """Empty caches with the keys and values of each request's encoder states (n, D)."""
        packed = torch.cat(list(states))
        counts = [len(part) for part in states]
        layers: list[list[tuple[Tensor, Tensor]]] = [[] for _ in states]
        for block in self._stack.block:
            attention = block.layer[1].EncDecAttention
            keys, values = (
                self._split(projected).split(counts)
                for projected in self._linear.each((attention.k, attention.v), packed)
            )
            for mine, key, value in zip(layers, keys, values, strict=True):
                # Contiguous for each head, as attention reads them once a pass.
                pair = (key.transpose(0, 1)[None], value.transpose(0, 1)[None])
                mine.append((pair[0].contiguous(), pair[1].contiguous()))
        return [SlotCache(cross) for cross in layers]

    def step(self, ids: Sequence[Sequence[int]], caches: Sequence[SlotCache]) -> Tensor:
        """Decodes the next ids of each request and writes their keys and values.

        The caches' lengths stay; the caller adds what it accepts.

        Args:
            ids: For each request those behind its cache, at least one.
            caches: Of the same requests.

        Returns:
            Hidden states (rows, D) of all requests one after the other, for `logits`.
        """
        flat = torch.tensor([i for row in ids for i in row], device=self._model.device)
        bounds = list(pairwise(accumulate(map(len, ids), initial=0)))
        biases = [
            self._relative_bias(cache.length, end - start)
            for cache, (start, end) in zip(caches, bounds, strict=True)
        ]
        for cache, (start, end) in zip(caches, bounds, strict=True):
            cache.reserve(cache.length + end - start)

        hidden = self._stack.embed_tokens(flat)
        for number, block in enumerate(self._stack.block):
            own, cross, feed_forward = block.layer
            attention = own.SelfAttention
            normed = _norm(own.layer_norm, hidden)
            query, key, value = (
                self._split(projected)
                for projected in self._linear.each((attention.q, attention.k, attention.v), normed)
            )
            mixed = []
            for cache, (start, end), bias in zip(caches, bounds, biases, strict=True):
                keys, values = cache.extend(number, key[start:end], value[start:end])
                mixed.append(_attend(query[start:end], keys, values, bias))
            hidden = hidden + self._linear(attention.o, _joined(mixed))

            attention = cross.EncDecAttention
            query = self._split(self._linear(attention.q, _norm(cross.layer_norm, hidden)))
            mixed = [
                _attend(query[start:end], *cache.cross[number], None)
                for cache, (start, end) in zip(caches, bounds, strict=True)
            ]
            hidden = hidden + self._linear(attention.o, _joined(mixed))

            normed = _norm(feed_forward.layer_norm, hidden)
            hidden = hidden + self._feed_forward(feed_forward.DenseReluDense, normed)
        return _norm(self._stack.final_layer_norm, hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (rows, V) in float32 of hidden states (rows, D)."""
        return self._linear(self._model.lm_head, hidden * self._scale).float()

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), self._heads, -1)

    def _feed_forward(self, module: Any, x: Tensor) -> Tensor:
        if hasattr(module, "wi_0"):
            gate, value = self._linear.each((module.wi_0, module.wi_1), x)
            x = gate_values(gate, value) if self._is_gelu else module.act(gate) * value
        else:
            x = module.act(self._linear(module.wi, x))
        return self._linear(module.wo, x)

    def _relative_bias(self, position: int, rows: int) -> Tensor:
        """The additive bias (1, heads, rows, keys) of queries from `position` on; causal."""
        keys = position + rows
        if keys > self._bias.shape[1] // 2:
            self._bias = self._bias_table(2 * keys)
        # Column c of the table is for keys c - middle positions behind the query.
        first = self._bias.shape[1] // 2 - (keys - 1)
        window = self._bias[:, first : first + keys + rows - 1]
        return window.unfold(1, keys, 1).flip(1)[None]

    def _bias_table(self, positions: int) -> Tensor:
        """The bias (heads, 2 * positions) by distance, minus infinity for keys to come."""
        positions = max(positions, 256)
        attention = self._stack.block[0].layer[0].SelfAttention
        with torch.no_grad():
            distance = torch.arange(-positions, 1, device=self._model.device)
            bucket = attention._relative_position_bucket(
                distance,
                bidirectional=False,
                num_buckets=attention.relative_attention_num_buckets,
                max_distance=attention.relative_attention_max_distance,
            )
            bias = attention.relative_attention_bias(bucket).t()
        return F.pad(bias, (0, positions - 1), value=-torch.inf)


def _norm(module: Any, x: Tensor) -> Tensor:
    """T5's norm, in one call."""
    normed = F.rms_norm(x.float(), module.weight.shape, None, module.variance_epsilon)
    return module.weight * normed.to(module.weight.dtype)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """What the heads of all requests say, (rows, heads * d_kv)."""
    return (parts[0] if len(parts) == 1 else torch.cat(list(parts))).flatten(1)


def _attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention without scaling of queries (rows, heads, d_kv); returns the same shape."""
    # For a few queries the fused kernel is slower than this, which reads keys and values once.
    scores = torch.matmul(query.transpose(0, 1)[None], keys.transpose(2, 3))
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype)
    return torch.matmul(weights, values)[0].transpose(0, 1)


__all__ = ["PackedDecoder"]
