"""Packed attention is T5's attention of every sequence alone, its gradients included."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention, eager_attention_forward

from kebyt5.models import attention
from kebyt5.models.attention import (
    BlockwiseAttention,
    ByteAttention,
    Pairs,
    bias_table,
    flex_attention,
)

HEADS, DIM = 3, 4


def inputs(pairs, dtype=torch.float64, with_table=True):
    torch.manual_seed(0)
    query = torch.randn(sum(pairs.queries), HEADS, DIM, dtype=dtype)
    key, value = torch.randn(2, sum(pairs.keys), HEADS, DIM, dtype=dtype)
    table = torch.randn(HEADS, 2 * max(pairs.queries) - 1, dtype=dtype) if with_table else None
    return [None if x is None else x.requires_grad_() for x in (query, key, value, table)]


def written_out(query, key, value, table, pairs):
    """Sequence by sequence, with the matrix of biases."""
    outputs, longest = [], max(pairs.queries)
    for rows, columns in pairs.slices():
        q, k, v = query[rows], key[columns], value[columns]
        scores = torch.einsum("ihd,jhd->hij", q, k)
        if table is not None:
            distance = torch.arange(len(k))[None] - torch.arange(len(q))[:, None]
            scores = scores + table[:, longest - 1 - distance]
        outputs.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v))
    return torch.cat(outputs)


CASES = {
    "itself": (Pairs((5, 9, 1), (5, 9, 1)), True),
    "one": (Pairs((7,), (7,)), True),
    "encoder": (Pairs((3, 1, 4), (6, 2, 5)), False),
}


@pytest.mark.parametrize(("pairs", "with_table"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("tile", [attention.TILE, 1], ids=["one block", "many blocks"])
def test_equals_the_equations(pairs, with_table, tile, monkeypatch):
    monkeypatch.setattr(attention, "TILE", tile)
    if pairs.queries == (7,) and tile == 1:
        pairs = Pairs((70,), (70,))  # more than one block of the least height
    tensors = inputs(pairs, with_table=with_table)
    given = [x for x in tensors if x is not None]
    weights = torch.randn_like(tensors[0])
    results = []
    for compute in (lambda *a: BlockwiseAttention.apply(*a, pairs, 0.0),
                    lambda *a: written_out(*a, pairs)):  # fmt: skip
        output = compute(*tensors)
        results.append([output, *torch.autograd.grad((output * weights).sum(), given)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize(("pairs", "with_table"), CASES.values(), ids=CASES)
def test_is_differentiated_exactly_also_with_dropout(pairs, with_table, rate):
    tensors = inputs(pairs, with_table=with_table)

    def compute(*given):
        torch.manual_seed(5)
        return BlockwiseAttention.apply(*given, *([None] * (4 - len(given))), pairs, rate)

    assert torch.autograd.gradcheck(compute, [x for x in tensors if x is not None])


def test_dropout_keeps_the_mean():
    pairs = Pairs((8,), (8,))
    with torch.no_grad():
        tensors = inputs(pairs)
        expected = written_out(*tensors, pairs)
        mean = sum(BlockwiseAttention.apply(*tensors, pairs, 0.3) for _ in range(4000)) / 4000
    assert (mean - expected).norm() < 0.03 * expected.norm()


def test_an_infinite_bias_hides_keys():
    pairs = Pairs((6, 4), (6, 4))
    query, key, value, table = inputs(pairs)
    with torch.no_grad():
        table[:, :5] = -torch.inf  # keys after the query
    output = BlockwiseAttention.apply(query, key, value, table, pairs, 0.0)
    gradients = torch.autograd.grad(output[2].sum(), (query, key, value, table))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[1][3:].abs().max() == 0
    assert gradients[2][3:].abs().max() == 0


@pytest.mark.parametrize(("pairs", "with_table"), CASES.values(), ids=CASES)
def test_flex_attention_agrees(pairs, with_table):
    tensors = [
        None if x is None else x.detach().float() for x in inputs(pairs, with_table=with_table)
    ]
    with torch.no_grad():
        output = flex_attention(*tensors, pairs)
        torch.testing.assert_close(output, written_out(*tensors, pairs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("is_decoder", [False, True])
def test_the_table_holds_the_bias_of_transformers(is_decoder):
    config = T5Config(d_model=8, d_kv=4, num_heads=3, is_decoder=is_decoder)
    layer = T5Attention(config, has_relative_attention_bias=True, layer_idx=0, is_causal=is_decoder)
    torch.nn.init.normal_(layer.relative_attention_bias.weight)
    expected = layer.compute_bias(300, 300)[0]
    layer.__class__ = ByteAttention
    table = bias_table(layer, 300, torch.device("cpu"))
    distance = torch.arange(300)[None] - torch.arange(300)[:, None]
    bias = table[:, 299 - distance]
    seen = distance <= 0 if is_decoder else torch.ones_like(distance, dtype=torch.bool)
    assert torch.equal(bias[:, seen], expected[:, seen])
    assert (bias[:, ~seen] == -torch.inf).all()


def test_attentions_are_returned_where_they_are_asked_for():
    layer = T5Attention(T5Config(d_model=8, d_kv=4, num_heads=2, is_decoder=True), layer_idx=0,
                        is_causal=True)  # fmt: skip
    query, key, value = torch.randn(3, 1, 2, 5, 4)
    output, weights = attention.blockwise_attention_forward(
        layer, query, key, value, None, output_attentions=True, scaling=1.0
    )
    mask = torch.full((5, 5), torch.finfo(torch.float32).min).triu(1)
    expected, expected_weights = eager_attention_forward(layer, query, key, value, mask, 1.0)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, expected_weights)


def test_memory_is_linear_in_length():
    def peak(length):
        pairs = Pairs((length,), (length,))
        tensors = inputs(pairs, torch.float32)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            BlockwiseAttention.apply(*tensors, pairs, 0.1).sum().backward()
        held = most = 0
        for event in sorted(profiler.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
            if event.name() == "[memory]":
                held += event.nbytes()
                most = max(most, held)
        return most

    peak(100)
    short, long = peak(4000), peak(8000)
    assert short < 4000 * 4000 * HEADS * 4 / 5
    assert long < short + 4000 * HEADS * DIM * 4 * 40
