"""Batches hold inputs of like length, and states are those of each input alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.generation.encoding import (
    FREE_WASTE,
    MAX_BATCH_BYTES,
    MAX_WASTE,
    batch_of_like_length,
    batches_by_length,
    encode,
)

LENGTHS = st.lists(st.integers(1, 6000), min_size=1, max_size=40)


@given(LENGTHS)
def test_batches_waste_little(lengths):
    chosen = batch_of_like_length(lengths)
    mine = [lengths[i] for i in chosen]
    assert 0 in chosen
    assert len(set(chosen)) == len(chosen)
    assert max(mine) <= MAX_WASTE * min(mine) + FREE_WASTE
    assert len(mine) == 1 or sum(mine) <= MAX_BATCH_BYTES


def test_equal_lengths_fill_a_batch():
    assert len(batch_of_like_length([100] * 100)) == 40


def test_batches_begin_with_the_longest_inputs_and_keep_their_order():
    assert batches_by_length([3, 9, 1, 9, 5], 2) == [[1, 3], [4, 0], [2]]
    assert batches_by_length([], 2) == []


def test_states_are_those_of_each_input_alone(tiny_model):
    model = tiny_model()
    rng = np.random.default_rng(0)
    inputs = [rng.integers(3, 259, size) for size in (1, 2, 3, 10, 50, 49)]
    with torch.inference_mode():
        for ids, states in zip(inputs, encode(model, inputs), strict=True):
            alone = model.get_encoder()(torch.from_numpy(ids)[None]).last_hidden_state[0]
            assert states.shape == (-(-len(ids) // 3), model.config.d_model)
            torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 31, 64, 65])
def test_skinny_products(rows):
    from kebyt5.generation.skinny import SkinnyLinear

    torch.manual_seed(0)
    linear, module = SkinnyLinear(), torch.nn.Linear(48, 40, bias=False)
    x = torch.randn(rows, 48)
    with torch.inference_mode():
        for _ in range(2):  # packed the first time, then used as packed
            torch.testing.assert_close(linear(module, x), module(x), atol=1e-6, rtol=1e-5)
        for found in linear.each([module, module], x):
            torch.testing.assert_close(found, module(x), atol=1e-6, rtol=1e-5)
