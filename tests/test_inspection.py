"""Inspection shows what a model really computes."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kebyt5 import ByteTokenizer, inspection
from kebyt5.bench.naive_gbst import naive_blocks
from kebyt5.inspection import (
    Segment,
    agreement,
    block_choice,
    cross_attention,
    mean_cross_attention,
    segment,
    spread_over_bytes,
    sum_over_units,
    units,
)

TEXT = "김하늘 씨는 ABC에 간다. 🙂\n"
IDS = ByteTokenizer().encode_array(TEXT).tolist()
BLOCKS = st.lists(
    st.integers(1, 5).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))),
    min_size=1,
    max_size=4,
    unique=True,
)


def block_starts(size, offset, length):
    """Where the candidate blocks of one kind begin: after `offset` bytes, then every `size`."""
    return [0, *range(offset or size, length, size)]


def every_segmentation(blocks, length):
    """Enumerates all ways to cover bytes 0 to `length` with whole candidate blocks."""
    pieces = {}
    for number, (size, offset) in enumerate(blocks):
        for start, end in pairwise([*block_starts(size, offset, length), length]):
            pieces.setdefault(start, []).append((start, end, number))

    def cover(start):
        if start == length:
            yield []
        for piece in pieces.get(start, []):
            for rest in cover(piece[1]):
                yield [piece, *rest]

    return list(cover(0))


# The weights of blocks


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"score_consensus_attn": False},
        {"subword_blocks": [[2, 0], [3, 1], [4, 2]], "downsample_factor": 2},
        {"gbst_batchnorm": True},
        {"subword_blocks": list(range(1, 10)), "downsample_factor": 6},
    ],
    ids=["published", "no consensus", "offsets", "batch norm", "1 to 9"],
)
def test_weights_are_those_of_the_equations(tiny_model, changes):
    model = tiny_model(**changes)
    gbst = model.encoder.embed_tokens
    torch.nn.init.normal_(gbst.scoring.weight)  # far from indifferent
    choice = block_choice(model, IDS)
    ids = torch.tensor([IDS])
    with torch.no_grad():
        _, before, after, _ = naive_blocks(gbst, ids, torch.ones_like(ids))
    np.testing.assert_allclose(choice.before, before[0, : len(IDS)], atol=1e-5)
    np.testing.assert_allclose(choice.after, after[0, : len(IDS)], atol=1e-5)
    np.testing.assert_allclose(choice.after.sum(axis=1), 1, atol=1e-5)
    assert choice.blocks == gbst.blocks
    if changes.get("score_consensus_attn", True):
        assert np.abs(choice.after - choice.before).max() > 0.01


def test_weights_leave_the_model_as_it_was(tiny_model):
    model = tiny_model()
    before = model(input_ids=torch.tensor([IDS]), labels=torch.tensor([IDS])).logits
    block_choice(model, IDS)
    cross_attention(model, IDS, IDS)
    after = model(input_ids=torch.tensor([IDS]), labels=torch.tensor([IDS])).logits
    assert torch.equal(before, after)


def test_a_model_without_gbst_has_no_blocks(tiny_model):
    with pytest.raises(ValueError, match="no GBST"):
        block_choice(tiny_model(gbst=False), IDS)


def test_an_input_needs_ids(tiny_model):
    with pytest.raises(ValueError, match="has no ids"):
        block_choice(tiny_model(), [])


# Segmentation


@given(BLOCKS, st.integers(1, 9), st.data())
def test_a_segmentation_has_the_largest_total_weight(blocks, length, data):
    shape = (length, len(blocks))
    weights = data.draw(arrays.arrays(np.float64, shape, elements=st.floats(0, 1, width=16)))
    found = segment(weights, blocks)

    totals = {
        tuple(map(tuple, way)): sum(weights[a:b, m].sum() for a, b, m in way)
        for way in every_segmentation(blocks, length)
    }
    assert tuple(map(tuple, found)) in totals
    best = max(totals.values())
    assert totals[tuple(map(tuple, found))] == pytest.approx(best)
    fewest = min(len(way) for way, total in totals.items() if total > best - 1e-12)
    assert len(found) <= fewest
    assert agreement(weights, found) == pytest.approx(best / length)


def test_a_clear_choice_is_its_segmentation():
    blocks = ((1, 0), (2, 0), (3, 0))
    wanted = [(0, 3, 2), (3, 4, 0), (4, 6, 1), (6, 8, 2)]
    weights = np.zeros((8, 3))
    for start, end, block in wanted:
        weights[start:end, block] = 1
    assert segment(weights, blocks) == wanted
    assert agreement(weights, [Segment(*triple) for triple in wanted]) == 1


def test_indifferent_weights_make_few_long_segments():
    found = segment(np.full((20, 3), 1 / 3), ((1, 0), (3, 0), (9, 0)))
    assert [each.end for each in found] == [9, 18, 20]
    assert agreement(np.full((20, 3), 1 / 3), found) == pytest.approx(1 / 3)


# Units


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_units_are_the_characters_of_a_text(text):
    ids = ByteTokenizer().encode_array(text, add_eos=False, sentinels="huggingface").tolist()
    found = units(ids)
    if not any(i > 258 or i < 3 for i in ids):
        assert [unit.text for unit in found] == list(text)
        offsets = ByteTokenizer.char_to_byte(text).tolist()
        assert [(unit.start, unit.end) for unit in found] == list(pairwise(offsets))


@given(st.lists(st.integers(0, 383)))
def test_units_of_any_ids_are_without_gap_or_overlap(ids):
    found = units(ids)
    assert [unit.start for unit in found] == [0, *(unit.end for unit in found)][: len(found)]
    assert all(unit.start < unit.end for unit in found)
    assert (found[-1].end if found else 0) == len(ids)


def test_units_of_tokens_and_of_bytes_that_are_no_text():
    assert [unit.text for unit in units([258, 3 + 0xEA, 3 + 0x41, 259, 1, 0])] == [
        "<extra_id_0>", "\ufffd", "A", "<extra_id_0>", "</s>", "<pad>",
    ]  # fmt: skip


# Cross-attention


@pytest.mark.parametrize("changes", [{}, {"downsample_factor": 1}, {"downsample_factor": 6}])
def test_attention_is_that_of_the_model_and_lies_on_the_bytes_of_its_positions(tiny_model, changes):
    model = tiny_model(**changes)
    for block in model.decoder.block:  # sharp enough to tell positions apart
        torch.nn.init.normal_(block.layer[1].EncDecAttention.q.weight)
    output = ByteTokenizer().encode_array("하늘").tolist()
    found = cross_attention(model, IDS, output)
    n = -(-len(IDS) // model.config.downsample_factor)
    assert found.shape == (2, 4, len(output), n)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)

    # The first layer's by hand: queries of the decoder's first states on keys of the encoder's.
    with torch.no_grad():
        encoded = model.encoder(torch.tensor([IDS])).last_hidden_state[0]
        seen = {}
        cross = model.decoder.block[0].layer[1].EncDecAttention
        handle = cross.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
        model(input_ids=torch.tensor([IDS]), labels=torch.tensor([output]), use_cache=True)
        handle.remove()
        query = cross.q(seen["x"][0]).unflatten(-1, (4, -1)).transpose(0, 1)
        key = cross.k(encoded).unflatten(-1, (4, -1)).transpose(0, 1)
        expected = (query @ key.transpose(1, 2)).softmax(dim=-1)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)

    d = model.config.downsample_factor
    spread = spread_over_bytes(found, len(IDS), d)
    np.testing.assert_allclose(spread.sum(axis=-1), 1, atol=1e-5)
    for j in range(n):
        pool = spread[..., j * d : (j + 1) * d]
        np.testing.assert_allclose(pool.sum(axis=-1), found[..., j], atol=1e-6)
        assert np.ptp(pool, axis=-1).max() == 0
    on_characters = sum_over_units(spread, units(IDS))
    assert on_characters.shape[-1] == len(TEXT) + 1
    np.testing.assert_allclose(on_characters.sum(axis=-1), 1, atol=1e-5)


def test_attention_that_keeps_no_weights_is_refused(tiny_model):
    model = tiny_model()
    model.set_attn_implementation("sdpa")
    with pytest.raises(ValueError, match="set_attn_implementation"):
        cross_attention(model, IDS, [3, 4])


@pytest.mark.parametrize("numbers", [1, 400, 10**9])
def test_the_mean_is_the_same_in_parts(tiny_model, monkeypatch, numbers):
    monkeypatch.setattr(inspection, "_MAX_NUMBERS", numbers)
    for model in (tiny_model(), tiny_model(downsample_factor=1)):
        found = mean_cross_attention(model, IDS, IDS[:7])
        expected = cross_attention(model, IDS, IDS[:7]).mean(axis=(0, 1))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_attention_of_a_step_does_not_know_what_is_written_later(tiny_model):
    model = tiny_model()
    short = cross_attention(model, IDS, IDS[:3])
    long = cross_attention(model, IDS, [*IDS[:3], 77, 88])
    np.testing.assert_allclose(short, long[:, :, :3], atol=1e-6)


@pytest.mark.parametrize("factor", [1, 3, 6])
def test_attention_goes_to_the_bytes_that_a_position_pools_whatever_the_length(factor):
    for length in range(1, 30):
        positions = -(-length // factor)
        spread = spread_over_bytes(np.eye(positions), length, factor)
        assert spread.shape == (positions, length)
        for position, row in enumerate(spread):
            pooled = range(position * factor, min(length, (position + 1) * factor))
            assert list(np.flatnonzero(row)) == list(pooled)


def test_a_model_in_training_is_looked_at_as_it_is_and_left_as_it_was(tiny_model):
    model = tiny_model(dropout_rate=0.5, gbst_batchnorm=True)
    model.set_attn_implementation("eager")
    expected = cross_attention(model, IDS, IDS[:3]), block_choice(model, IDS).after
    statistics = [buffer.clone() for buffer in model.buffers()]
    model.train()
    np.testing.assert_array_equal(cross_attention(model, IDS, IDS[:3]), expected[0])
    np.testing.assert_array_equal(block_choice(model, IDS).after, expected[1])
    assert model.training
    assert all(map(torch.equal, model.buffers(), statistics))


def test_an_output_without_ids_has_no_attention(tiny_model):
    model = tiny_model()
    model.set_attn_implementation("eager")
    assert cross_attention(model, IDS, []).shape[2] == 0
    assert len(mean_cross_attention(model, IDS, [])) == 0


def test_units_of_a_tensor_and_of_padded_labels():
    assert units(torch.tensor(IDS)) == units(IDS)
    assert [unit.text for unit in units([68, -100])] == ["A", "\ufffd"]
