r"""T5's attention in linear memory, over concatenated sequences.

A batch is one long row of tokens without padding; `Pairs` says where in it the sequences begin
and end, and attention is block-diagonal: each sequence sees itself, or its own encoder states.

T5 adds to the score of query i and key j a number $t_{j-i}$ that depends on their distance. With
the keys in reverse order, j' = n - 1 - j, that is a Hankel matrix: its entry depends on i + j',
so a table of 2n - 1 numbers, read with strides (1, 1), is the n x n matrix, and neither the bias
nor a mask for causality is ever stored. Nothing of size n x n is saved for the gradient either.
The backward pass recomputes the scores, one block of rows at a time that fits into the cache,
and sums the anti-diagonals of each block into the gradient of the table.

On CUDA, the fused kernels of `flex_attention` do the same, with the table as `score_mod` and the
sequences as a block mask.
"""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.t5.modeling_t5 import T5Attention, eager_attention_forward

from .autocast import without_autocast
from .dropout import dropout_mask, dropped_share
from .int8 import linear_each

BLOCKWISE = "blockwise"
"""The name of this attention, for `attn_implementation`."""

TILE = 2**20
"""Scores computed at a time in the backward pass: a few megabytes, to fit into the cache."""


class Pairs(NamedTuple):
    """Numbers of queries and of keys of each sequence in a packed batch."""

    queries: tuple[int, ...]
    keys: tuple[int, ...]

    def slices(self) -> list[tuple[slice, slice]]:
        """The slices of all queries and of all keys that belong to each sequence."""
        slices, query, key = [], 0, 0
        for queries, keys in zip(*self, strict=True):
            slices.append((slice(query, query + queries), slice(key, key + keys)))
            query, key = query + queries, key + keys
        return slices


class Segments(NamedTuple):
    """Lengths of the sequences of a packed batch, for self-attention and cross-attention."""

    own: Pairs
    encoder: Pairs | None = None


class BlockwiseAttention(torch.autograd.Function):
    """Softmax attention of packed sequences, with T5's bias and dropout of the probabilities.

    `query` is (N, H, d), `key` and `value` are (K, H, d). `table` is (H, 2n - 1) or None, n at
    least the longest sequence: entry n - 1 - r is the bias of keys r positions after the query.
    The result is (N, H, d).
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        table: Tensor | None,
        pairs: Pairs,
        rate: float,
    ) -> Tensor:
        """Attends, with fused kernels where there is no dropout."""
        ctx.pairs, ctx.rate = pairs, rate
        # Dropout is drawn again in the backward pass, from the same seed.
        ctx.seed = int(torch.randint(2**62, ()).item()) if rate else 0
        generator = torch.Generator().manual_seed(ctx.seed)
        output = torch.empty_like(query)
        with without_autocast(query):
            for rows, columns in pairs.slices():
                q, k, v, bias = _heads(query[rows], key[columns], value[columns], table)
                out = output[rows].transpose(0, 1)
                if not rate:
                    mask = None if bias is None else bias[None]
                    out.copy_(_fused(q, k, v, mask))
                    continue
                for block, scores in _blocks(q, k):
                    _probabilities(q[:, block], k, bias, block, scores)
                    scores.mul_(dropout_mask(scores.shape, rate, generator))
                    out[:, block] = torch.bmm(scores, v)
            if rate:
                output.div_(1 - dropped_share(rate))
        ctx.save_for_backward(query, key, value, table, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiates with respect to query, key, value and table."""
        query, key, value, table, output = ctx.saved_tensors
        generator = torch.Generator().manual_seed(ctx.seed)
        grad_query, grad_key, grad_value = map(torch.empty_like, (query, key, value))
        grad_table = None if table is None else torch.zeros_like(table)
        with without_autocast(query):
            # (H, N, 1): rowsum(dO * O), as in FlashAttention
            delta = (grad * output).sum(dim=-1).t()[:, :, None]
            if ctx.rate:
                grad = grad / (1 - dropped_share(ctx.rate))
            for rows, columns in ctx.pairs.slices():
                q, k, v, bias = _heads(query[rows], key[columns], value[columns], table)
                parts = _backward(
                    (q, k, v, bias), grad[rows].transpose(0, 1), delta[:, rows], ctx.rate, generator
                )
                grad_query[rows] = parts[0].transpose(0, 1)
                for whole, part in ((grad_key, parts[1]), (grad_value, parts[2])):
                    whole[columns] = (part if table is None else part.flip(1)).transpose(0, 1)
                if grad_table is not None:
                    start = _table_start(table, q.shape[1])
                    grad_table[:, start : start + parts[3].shape[1]] += parts[3]
        return grad_query, grad_key, grad_value, grad_table, None, None


def _heads(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """One sequence's query, key and value (H, n, d), and its bias (H, n, n).

    With a bias, the keys and values are in reverse order.
    """
    query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    if table is None:
        return query, key, value, None
    heads, n, _ = query.shape
    start = table.storage_offset() + _table_start(table, n)
    bias = table.as_strided((heads, n, n), (table.stride(0), 1, 1), start)
    return query, key.flip(1), value.flip(1), bias


def _table_start(table: Tensor, n: int) -> int:
    """The column of the table at which the bias of a sequence of length n begins."""
    return (table.shape[1] + 1) // 2 - n


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=mask, scale=1.0
    )[0]


def _blocks(query: Tensor, key: Tensor) -> list[tuple[slice, Tensor]]:
    """Blocks of query rows, each with a buffer (H, rows, m) for its scores."""
    heads, n, _ = query.shape
    m = key.shape[1]
    rows = min(n, max(16, TILE // max(1, heads * m)))
    room = query.new_empty(heads * rows * m)
    return [
        (slice(i, min(i + rows, n)), room[: heads * (min(i + rows, n) - i) * m].view(heads, -1, m))
        for i in range(0, n if m else 0, rows)
    ]


def _probabilities(
    query: Tensor, key: Tensor, bias: Tensor | None, block: slice, out: Tensor
) -> None:
    if bias is None:
        torch.bmm(query, key.transpose(1, 2), out=out)
    else:
        torch.baddbmm(bias[:, block], query, key.transpose(1, 2), out=out)
    torch.softmax(out, dim=-1, out=out)


def _backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None],
    grad: Tensor,
    delta: Tensor,
    rate: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One sequence's gradients of query (H, n, d), key and value (H, m, d), and table."""
    query, key, value, bias = inputs
    heads, n, _ = query.shape
    m = key.shape[1]
    grad_query = query.new_empty(query.shape)
    grad_key, grad_value = query.new_zeros(key.shape), query.new_zeros(value.shape)
    grad_table = query.new_zeros(heads, n + m - 1)
    for block, scores in _blocks(query, key):
        rows = scores.shape[1]
        _probabilities(query[:, block], key, bias, block, scores)
        # Row r of these gradients is shifted r places to the right, so that each column holds
        # what belongs to one entry of the table.
        skewed = scores.new_zeros(heads, rows, m + rows)
        grads = skewed.as_strided((heads, rows, m), (rows * (m + rows), m + rows + 1, 1))
        grads.baddbmm_(grad[:, block], value.transpose(1, 2), beta=0)
        if rate:
            dropped = scores * dropout_mask(scores.shape, rate, generator)
            grads.mul_(dropped).addcmul_(scores, delta[:, block], value=-1)
        else:
            dropped = scores
            grads.sub_(delta[:, block]).mul_(scores)
        grad_value.baddbmm_(dropped.transpose(1, 2), grad[:, block])
        grad_query[:, block] = torch.bmm(grads, key)
        grad_key.baddbmm_(grads.transpose(1, 2), query[:, block])
        if bias is not None:
            columns = slice(block.start, block.start + m + rows - 1)
            grad_table[:, columns] += skewed.sum(dim=1)[:, :-1]
    return grad_query, grad_key, grad_value, grad_table


@cache
def _compiled_flex_attention() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


class Documents(NamedTuple):
    """Packed sequences as `flex_attention` takes them, on its device."""

    block_mask: Any
    query_of: Tensor  # (N,), the sequence of each query
    key_of: Tensor  # (K,), the sequence of each key
    query_starts: Tensor  # (sequences,), where each begins
    key_starts: Tensor


@lru_cache(maxsize=4)  # all layers of a step share one
@torch.inference_mode(False)  # as a training step may reuse it
def _documents(pairs: Pairs, device: torch.device) -> Documents:
    from torch.nn.attention.flex_attention import create_block_mask

    lengths = [torch.tensor(part, device=device) for part in pairs]
    query_of, key_of = map(torch.repeat_interleave, lengths)

    def same_sequence(_: Tensor, __: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return query_of[i] == key_of[j]

    mask = create_block_mask(same_sequence, None, None, len(query_of), len(key_of), device=device)
    return Documents(mask, query_of, key_of, *(part.cumsum(0) - part for part in lengths))


def flex_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor | None, pairs: Pairs
) -> Tensor:
    """Computes `BlockwiseAttention` without dropout by the kernels of `flex_attention`.

    On CUDA they are compiled; elsewhere PyTorch's slow reference runs.
    """
    from torch.nn.attention.flex_attention import flex_attention as reference

    documents = _documents(pairs, query.device)

    def add_bias(score: Tensor, _: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        assert table is not None
        own_i = i - documents.query_starts[documents.query_of[i]]
        own_j = j - documents.key_starts[documents.key_of[j]]
        longest = (table.shape[1] + 1) // 2
        # For keys of other sequences, which the mask excludes, the distance may be any.
        return score + table[head, (longest - 1 - own_j + own_i).clamp(0, table.shape[1] - 1)]

    attend = _compiled_flex_attention() if query.is_cuda else reference
    output = attend(
        *(x.transpose(0, 1)[None] for x in (query, key, value)),
        score_mod=None if table is None else add_bias,
        block_mask=documents.block_mask,
        scale=1.0,
    )
    return output[0].transpose(0, 1)


def reference_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor | None, pairs: Pairs, rate: float
) -> Tensor:
    """Computes `BlockwiseAttention` by PyTorch's own kernels, one sequence at a time."""
    outputs = []
    for rows, columns in pairs.slices():
        q, k, v, bias = _heads(query[rows], key[columns], value[columns], table)
        mask = None if bias is None else bias.contiguous()[None]
        output = F.scaled_dot_product_attention(
            q[None], k[None], v[None], attn_mask=mask, dropout_p=rate, scale=1.0
        )
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


def attend(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor | None, pairs: Pairs, rate: float
) -> Tensor:
    """Computes `BlockwiseAttention` by the fastest implementation for the device."""
    dtype = query.dtype
    if query.device.type == "cpu":
        # On a CPU half precision is for storage only; computing in it would be slower.
        compute = torch.promote_types(dtype, torch.float32)
        inputs = [None if x is None else x.to(compute) for x in (query, key, value, table)]
        return BlockwiseAttention.apply(*inputs, pairs, rate).to(dtype)
    table = None if table is None else table.to(dtype)
    if query.is_cuda and not rate:
        return flex_attention(query, key, value, table, pairs)
    return reference_attention(query, key, value, table, pairs, rate)


class ByteAttention(T5Attention):
    """`T5Attention` that attends block-diagonally if its stack is packed."""

    def forward(
        self,
        hidden_states: Tensor,
        mask: Tensor | None = None,
        key_value_states: Tensor | None = None,
        position_bias: Tensor | None = None,
        segments: Segments | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Maps packed states (1, N, D) to (1, N, D); without `segments` runs `T5Attention`.

        In a packed stack `position_bias` is the table of `BlockwiseAttention`.
        """
        if segments is None:
            return super().forward(
                hidden_states,
                mask=mask,
                key_value_states=key_value_states,
                position_bias=position_bias,
                **kwargs,
            )
        states, pairs = hidden_states, segments.own
        if key_value_states is not None:
            assert segments.encoder is not None
            states, pairs = key_value_states, segments.encoder
        if position_bias is None and self.has_relative_attention_bias:
            position_bias = bias_table(self, max(pairs.queries, default=1), states.device)
        heads = (-1, self.n_heads, self.key_value_proj_dim)
        if key_value_states is None:
            projected = linear_each((self.q, self.k, self.v), states)
        else:
            projected = [self.q(hidden_states), *linear_each((self.k, self.v), states)]
        query, key, value = (part.view(heads) for part in projected)
        rate = self.dropout if self.training else 0.0
        output = attend(query, key, value, position_bias, pairs, rate)
        return self.o(output.reshape(1, -1, self.inner_dim)), position_bias, None


def bias_table(attention: T5Attention, n: int, device: torch.device) -> Tensor:
    """The bias (H, 2n - 1) by distance, from n - 1 positions after a query to n - 1 before."""
    distance = torch.arange(n - 1, -n, -1, device=device)
    buckets = attention._relative_position_bucket(
        distance,
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    table = attention.relative_attention_bias(buckets).t()
    if attention.is_causal:
        table = table.masked_fill(distance > 0, -torch.inf)
    return table.contiguous()


def blockwise_attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attends in stacks that are not packed, e.g. with a cache.

    Uses PyTorch's fused attention, or the eager one if attentions are asked for.
    """
    if not kwargs.get("output_attentions"):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if attention_mask is None and module.is_causal and query.shape[2] > 1:
        ones = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
        attention_mask = ones.tril()
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        lowest = torch.finfo(query.dtype).min
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill(
            ~attention_mask, lowest
        )
    return eager_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(BLOCKWISE, blockwise_attention_forward)
AttentionMaskInterface.register(BLOCKWISE, sdpa_mask)
