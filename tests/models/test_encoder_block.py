"""An encoder in compiled calls, int8 or float32, computes what its modules compute."""

import copy
import gc
import os
import pickle
import weakref

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.models.t5.modeling_t5 import T5Block

from kebyt5.models import encoder_block, native
from kebyt5.models.decoder_kernel import ProductKernel
from kebyt5.models.fast_path import fast_path
from kebyt5.models.int8 import Int8Linear, quantize_rows
from kebyt5.models.native import Panels
from kebyt5.quantization.quantize import quantize
from tests.models.samples import of_a_library, plain_model

pytestmark = pytest.mark.skipif(
    native.library() is None and "CI" not in os.environ,
    reason="kebyt5 was installed without a C compiler, or this is no Linux on x86-64",
)


@pytest.fixture(autouse=True)
def with_few_rows(monkeypatch):
    monkeypatch.setattr(encoder_block, "MIN_BLOCK_ROWS", 1)


def encoder_of(kind="int8", d_model=64, d_kv=16, num_heads=4, d_ff=96, **changes):
    shape = {"d_model": d_model, "d_kv": d_kv, "num_heads": num_heads, "d_ff": d_ff}
    model = plain_model("encoder", 1.0, **shape | changes)
    return (quantize(model) if kind == "int8" else model).encoder


VARIANTS = pytest.mark.usefixtures("variant")
KINDS = pytest.mark.parametrize("kind", ["int8", "float"])


def states_of(encoder, embedded, lengths, by_modules=False):
    mask = torch.arange(embedded.shape[1]) < torch.tensor(lengths)[:, None]
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(fast_path, "kernels", fast_path.kernels and not by_modules)
        return encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state[mask]


def calls_of(monkeypatch):
    """Collects the blocks that are called module by module."""
    called, real = [], T5Block.forward

    def forward(self, *arguments, **options):
        called.append(self)
        return real(self, *arguments, **options)

    monkeypatch.setattr(T5Block, "forward", forward)
    return called


@VARIANTS
# The variant stays the same from example to example.
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["int8", "float"]),
    shape=st.fixed_dictionaries(
        {
            "d_model": st.sampled_from([8, 36, 64, 132]),
            "d_kv": st.sampled_from([1, 6, 16, 64, 72, 130]),
            "num_heads": st.sampled_from([4, 8]),
            "d_ff": st.sampled_from([4, 60, 100, 256, 1100]),
        }
    ),
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    threads=st.sampled_from([1, 2]),
)
def test_states_are_those_of_the_modules(kind, shape, lengths, threads):
    encoder, before = encoder_of(kind, **shape), torch.get_num_threads()
    embedded = torch.randn(len(lengths), max(lengths), shape["d_model"])
    torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        called = calls_of(patch)
        found = states_of(encoder, embedded, lengths)
    assert not called
    expected = states_of(encoder, embedded, lengths, by_modules=True)
    torch.set_num_threads(before)
    error = (found - expected).norm(dim=1) / expected.norm(dim=1)
    # Where a number lies between two steps, its last digit decides about a step: 1/127 of the
    # largest of a row, which may be multiplied with the largest of the weights.
    assert error.max() < (0.06 if kind == "int8" else 1e-5)
    assert len(error) < 10 or error.median() < 1e-4


@VARIANTS
def test_weights_wider_than_what_is_turned_at_a_time_are_added_up():
    encoder, embedded = encoder_of("float", d_model=1100, d_ff=60), torch.randn(1, 40, 1100)
    found = states_of(encoder, embedded, [40])
    expected = states_of(encoder, embedded, [40], by_modules=True)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@KINDS
def test_blocks_follow_each_other_with_the_bias_of_the_first(kind, monkeypatch):
    encoder, embedded = encoder_of(kind, num_layers=3), torch.randn(2, 50, 64)
    expected = states_of(encoder, embedded, [50, 31], by_modules=True)
    called = calls_of(monkeypatch)
    found = states_of(encoder, embedded, [50, 31])
    assert not called
    assert (found - expected).norm() < 0.01 * expected.norm()
    encoder.block[1].register_forward_hook(of_a_library(lambda *_: None))
    encoder.block[2].layer[1].register_forward_hook(of_a_library(lambda *_: None))
    mixed = states_of(encoder, embedded, [50, 31])
    assert called == [encoder.block[1], encoder.block[2]]
    assert (mixed - expected).norm() < 0.01 * expected.norm()


@KINDS
def test_hidden_states_are_of_each_block_and_inputs_stay_as_they_are(kind):
    encoder, embedded = encoder_of(kind, num_layers=2), torch.randn(1, 20, 64)
    before = embedded.clone()
    with torch.inference_mode():
        output = encoder(inputs_embeds=embedded, output_hidden_states=True)
    assert torch.equal(embedded, before)
    assert len(output.hidden_states) == 3
    assert len({states.sum().item() for states in output.hidden_states}) == 3


@KINDS
def test_a_neighbour_in_the_batch_changes_nothing(kind):
    encoder = encoder_of(kind, num_layers=2)
    long, short = torch.randn(1, 90, 64), torch.randn(1, 13, 64)
    both = torch.cat([long, nn.functional.pad(short, (0, 0, 0, 77))])
    together = states_of(encoder, both, [90, 13])
    assert torch.equal(together[:90], states_of(encoder, long, [90]))
    assert torch.equal(together[90:], states_of(encoder, short, [13]))


def hooked(block):
    block.layer[0].SelfAttention.register_forward_hook(of_a_library(lambda *_: None))


def adapted(block):
    inner = block.layer[1].DenseReluDense
    inner.wo = nn.Sequential(inner.wo)


def in_half(block):
    block.layer[0].layer_norm.bfloat16()


def with_a_bias(block):
    block.layer[1].DenseReluDense.wi_1.bias = nn.Parameter(torch.randn(96))


def dropping(block):
    block.layer[0].dropout.train()  # to sample several outputs


def derived(block):
    block.layer[1].__class__ = type("Own", (type(block.layer[1]),), {})


def with_another_epsilon(block):
    block.layer[1].layer_norm.variance_epsilon = 0.5


def turned(block):
    weight = block.layer[0].SelfAttention.k.weight
    weight.data = weight.data.t().contiguous().t()


def turned_in_place(block):
    weight = block.layer[0].SelfAttention.k.weight
    weight.data = weight.data.t()  # at the same address


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("int8", change) for change in (hooked, dropping, derived, with_another_epsilon)),
        *(("float", change) for change in (hooked, dropping, derived, with_another_epsilon)),
        *(("int8", change) for change in (adapted, in_half)),
        *(("float", change) for change in (adapted, with_a_bias, turned, turned_in_place)),
    ],
)
def test_other_than_plain_blocks_fall_back_to_their_modules(kind, change, monkeypatch):
    encoder, embedded = encoder_of(kind), torch.randn(1, 20, 64)
    states_of(encoder, embedded, [20])
    called = calls_of(monkeypatch)
    change(encoder.block[0])
    states_of(encoder, embedded, [20])
    assert called == [encoder.block[0]]


@KINDS
@pytest.mark.parametrize("activation", ["relu", "gated-relu"])
def test_other_activations_fall_back_to_their_modules(kind, activation, monkeypatch):
    encoder, called = encoder_of(kind, feed_forward_proj=activation), calls_of(monkeypatch)
    states_of(encoder, torch.randn(1, 20, 64), [20])
    assert called == [encoder.block[0]]


def test_floats_of_a_few_rows_and_those_that_are_cast_are_left_to_modules(monkeypatch):
    encoder, embedded, called = encoder_of("float"), torch.randn(1, 20, 64), calls_of(monkeypatch)
    monkeypatch.setattr(encoder_block, "MIN_BLOCK_ROWS", 21)
    states_of(encoder, embedded, [20])
    assert called == [encoder.block[0]]
    monkeypatch.setattr(encoder_block, "MIN_BLOCK_ROWS", 20)
    states_of(encoder, embedded, [20])
    assert len(called) == 1
    with torch.autocast("cpu", torch.bfloat16):
        states_of(encoder, embedded, [20])
    assert len(called) == 2
    encoder(inputs_embeds=embedded)  # with a gradient to come
    assert len(called) == 3


def test_weights_that_change_count():
    encoder, embedded = encoder_of("float"), torch.randn(1, 40, 64)
    before = states_of(encoder, embedded, [40])
    attention, inner = encoder.block[0].layer[0].SelfAttention, encoder.block[0].layer[1]
    attention.v.weight.data.mul_(2)
    inner.DenseReluDense.wo.weight = nn.Parameter(torch.randn(64, 96))
    found = states_of(encoder, embedded, [40])
    assert not torch.equal(found, before)
    expected = states_of(encoder, embedded, [40], by_modules=True)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@KINDS
def test_norms_and_biases_that_change_count(kind):
    encoder, embedded = encoder_of(kind), torch.randn(1, 40, 64)
    before = states_of(encoder, embedded, [40])
    encoder.block[0].layer[0].layer_norm.weight = nn.Parameter(torch.randn(64))
    encoder.block[0].layer[0].SelfAttention.relative_attention_bias.double()
    found = states_of(encoder, embedded, [40])
    assert not torch.equal(found, before)
    expected = states_of(encoder, embedded, [40], by_modules=True)
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_weights_of_eight_bits_that_are_loaded_count():
    encoder, other, embedded = encoder_of(), encoder_of(), torch.randn(1, 20, 64)
    for layer in other.modules():
        if isinstance(layer, Int8Linear):
            layer.weight.copy_(layer.weight.flip(0))
    states_of(encoder, embedded, [20])
    encoder.load_state_dict(other.state_dict())
    assert torch.equal(states_of(encoder, embedded, [20]), states_of(other, embedded, [20]))


@pytest.mark.parametrize("name", ["q", "o"])
def test_so_does_a_layer_that_is_loaded_alone(name):
    encoder, embedded = encoder_of(), torch.randn(1, 20, 64)
    before = states_of(encoder, embedded, [20])
    layer = getattr(encoder.block[0].layer[0].SelfAttention, name)
    layer.load_state_dict({"weight": layer.weight.flip(0), "scale": layer.scale})
    found = states_of(encoder, embedded, [20])
    assert not torch.equal(found, before)
    expected = states_of(encoder, embedded, [20], by_modules=True)
    assert (found - expected).norm() < 0.01 * expected.norm()


@KINDS
def test_after_hidden_states_were_asked_for_blocks_are_one_call_again(kind, monkeypatch):
    encoder, embedded = encoder_of(kind, num_layers=2), torch.randn(1, 20, 64)

    def hidden_states():
        with torch.inference_mode():
            return encoder(inputs_embeds=embedded, output_hidden_states=True).hidden_states

    first, called = hidden_states(), calls_of(monkeypatch)
    states_of(encoder, embedded, [20])
    assert not called
    again = hidden_states()
    assert len(again) == 3
    assert all(map(torch.equal, again, first))


@KINDS
def test_a_hook_that_leaves_again_costs_no_other_kernel(kind):
    encoder, embedded = encoder_of(kind), torch.randn(1, 20, 64)
    states_of(encoder, embedded, [20])
    kernel = encoder.block[0]._kernel
    hook = encoder.block[0].layer[0].register_forward_hook(of_a_library(lambda *_: None))
    states_of(encoder, embedded, [20])
    hook.remove()
    states_of(encoder, embedded, [20])
    assert encoder.block[0]._kernel is kernel is not None


@KINDS
def test_inputs_and_weights_of_other_shapes_are_refused(kind):
    encoder = encoder_of(kind)
    with pytest.raises(RuntimeError), torch.inference_mode():
        encoder(inputs_embeds=torch.randn(1, 400, 32))
    inner = encoder.block[0].layer[1].DenseReluDense
    inner.wi_1 = nn.Linear(64, 32, bias=False)
    inner.wi_1 = Int8Linear.of(inner.wi_1) if kind == "int8" else inner.wi_1
    with pytest.raises(RuntimeError):
        states_of(encoder, torch.randn(1, 40, 64), [40])


@KINDS
def test_a_model_that_is_dropped_is_freed_at_once(kind):
    encoder = encoder_of(kind)
    states_of(encoder, torch.randn(1, 40, 64), [40])
    block = weakref.ref(encoder.block[0])
    gc.disable()
    del encoder
    gc.enable()
    assert block() is None


def test_a_layer_that_takes_the_place_of_another_counts():
    encoder, embedded = encoder_of(), torch.randn(1, 20, 64)
    before = states_of(encoder, embedded, [20])
    encoder.block[0].layer[0].SelfAttention.o = Int8Linear.of(nn.Linear(64, 64, bias=False))
    found = states_of(encoder, embedded, [20])
    assert not torch.equal(found, before)
    expected = states_of(encoder, embedded, [20], by_modules=True)
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_a_copy_of_a_model_that_has_run_is_one_of_its_own():
    encoder, embedded = encoder_of(), torch.randn(1, 20, 64)
    expected = states_of(encoder, embedded, [20])
    copied = pickle.loads(pickle.dumps(copy.deepcopy(encoder)))
    encoder.block[0].layer[0].layer_norm.weight.data.zero_()
    assert torch.equal(states_of(copied, embedded, [20]), expected)


@pytest.mark.parametrize("first", [True, False])
def test_joined_layers_multiply_whatever_is_switched_meanwhile(first, monkeypatch):
    layers = [Int8Linear.of(nn.Linear(64, 40, bias=False)) for _ in range(2)]
    rows = quantize_rows(torch.randn(5, 64))
    with torch.inference_mode():
        expected = torch.cat([layer.multiply(rows) for layer in layers], dim=1)
        for now in (first, not first):
            monkeypatch.setattr(fast_path, "kernels", now)
            if now is first:
                joined = Int8Linear.joined(layers)
            torch.testing.assert_close(joined.multiply(rows), expected, rtol=1e-6, atol=1e-6)


@VARIANTS
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 100])
@pytest.mark.parametrize("outs", [1, 40, 64, 130])
def test_products_in_panels_are_those_of_onednn(rows, outs, monkeypatch):
    layer = Int8Linear.of(nn.Linear(100, outs, bias=False))
    x = quantize_rows(torch.randn(rows, 100))
    with torch.inference_mode():
        found = layer.multiply(x)
        monkeypatch.setattr(Panels, "fit", lambda _: False)
        torch.testing.assert_close(found, layer.multiply(x), rtol=1e-6, atol=1e-6)


# Vectors multiply up to 6 rows at a time and 48 with a piece of a panel, which has up to 1,024
# inputs; tiles two times 16; and the cache holds 238 of the widest.
@VARIANTS
@pytest.mark.parametrize("rows", [5, 32, 38, 39, 50, 700])
@pytest.mark.parametrize("width", [60, 64, 1024, 2200])
@pytest.mark.parametrize("outs", [64, 90])
def test_sums_of_integers_are_exact_however_rows_are_grouped(rows, width, outs):
    layer = Int8Linear.of(nn.Linear(width, outs, bias=False))
    x = quantize_rows(torch.randn(rows, width))
    with torch.inference_mode():
        found = layer.panels().multiply(x.values, x.scale)
    sums = (x.values.long() - 128) @ layer.weight.long().T
    assert torch.equal(found, sums.float() * layer.scale * x.scale)


@VARIANTS
@pytest.mark.parametrize("rows", [1, 8, 40])
def test_the_largest_products_are_added_up_exactly(rows):
    layer = Int8Linear(torch.full((64, 64), 127, dtype=torch.int8), torch.ones(64))
    x = quantize_rows(torch.tensor([1.0, -1.0]).repeat_interleave(32).expand(rows, 64) * 127)
    layer.weight[::2, 32:] = -127  # else positive and negative sums are level
    expected = torch.tensor([64.0, 0.0]).repeat(rows, 32) * 127 * 127
    with torch.inference_mode():
        assert torch.equal(layer.panels().multiply(*x), expected)
        assert torch.equal(ProductKernel(layer)(x.scale * (x.values.float() - 128)), expected)
