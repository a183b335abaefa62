"""An encoder of eight bits in compiled calls says what its modules say."""

import copy
import ctypes
import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Block

from kebyt5.generation.quantization import quantize
from kebyt5.models import native
from kebyt5.models.fused import fast_path
from kebyt5.models.int8 import Int8Linear, quantize_rows
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.models.native import Panels

pytestmark = pytest.mark.skipif(
    not hasattr(native.library(), "encode_block") and "CI" not in os.environ,
    reason="kebyt5 was installed without a C compiler, or this processor has no AVX-512 with VNNI",
)


@pytest.fixture(autouse=True)
def without_amx(monkeypatch):
    flags = native._processor_flags() - {"amx_int8"}
    if "avx512_vnni" not in flags:
        pytest.skip("this processor has no AVX-512 with VNNI")
    monkeypatch.setattr(native, "_processor_flags", lambda: flags)


def encoder_of(d_model=64, d_kv=16, num_heads=4, d_ff=96, num_layers=1, **changes):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=384,
        d_model=d_model,
        d_kv=d_kv,
        num_heads=num_heads,
        d_ff=d_ff,
        num_layers=num_layers,
        num_decoder_layers=1,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
        **{"feed_forward_proj": "gated-gelu"} | changes,
    )
    model = KEByT5ForConditionalGeneration(config)
    with torch.no_grad():  # all norms of a new model are ones, and its biases next to zero
        for name, parameter in model.encoder.named_parameters():
            if parameter.dim() == 1 or "relative" in name:
                parameter.add_(torch.randn_like(parameter))
    return quantize(model).encoder


def states_of(encoder, embedded, lengths, by_modules=False):
    mask = torch.arange(embedded.shape[1]) < torch.tensor(lengths)[:, None]
    kernels = fast_path.kernels
    fast_path.kernels = kernels and not by_modules
    with torch.inference_mode():
        states = encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
    fast_path.kernels = kernels
    return states[mask]


def calls_of(monkeypatch):
    """Collects the blocks that are called module by module."""
    called, real = [], T5Block.forward

    def forward(self, *arguments, **options):
        called.append(self)
        return real(self, *arguments, **options)

    monkeypatch.setattr(T5Block, "forward", forward)
    return called


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    shape=st.fixed_dictionaries(
        {
            "d_model": st.sampled_from([8, 36, 64, 132]),
            "d_kv": st.sampled_from([1, 6, 16, 64, 72, 130]),
            "num_heads": st.sampled_from([4, 8]),
            "d_ff": st.sampled_from([4, 60, 100, 256]),
        }
    ),
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    threads=st.sampled_from([1, 2]),
)
def test_states_are_those_of_the_modules(shape, lengths, threads):
    encoder, before = encoder_of(**shape), torch.get_num_threads()
    embedded = torch.randn(len(lengths), max(lengths), shape["d_model"])
    torch.set_num_threads(threads)
    found = states_of(encoder, embedded, lengths)
    assert encoder.block[0]._kernel is not None
    expected = states_of(encoder, embedded, lengths, by_modules=True)
    torch.set_num_threads(before)
    # Where a number lies between two steps, its last digit decides about a step, of 1/127.
    error = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.median() < 1e-4
    assert error.max() < 0.02


def test_blocks_follow_each_other_with_the_bias_of_the_first(monkeypatch):
    encoder, embedded = encoder_of(num_layers=3), torch.randn(2, 50, 64)
    expected = states_of(encoder, embedded, [50, 31], by_modules=True)
    called = calls_of(monkeypatch)
    found = states_of(encoder, embedded, [50, 31])
    assert not called
    assert (found - expected).norm() < 0.01 * expected.norm()
    encoder.block[1].register_forward_hook(lambda *_: None)
    encoder.block[2].layer[1].register_forward_hook(lambda *_: None)
    mixed = states_of(encoder, embedded, [50, 31])
    assert called == [encoder.block[1], encoder.block[2]]
    assert (mixed - expected).norm() < 0.01 * expected.norm()


def test_hidden_states_are_of_each_block_and_inputs_stay_as_they_are():
    encoder, embedded = encoder_of(num_layers=2), torch.randn(1, 20, 64)
    before = embedded.clone()
    with torch.inference_mode():
        output = encoder(inputs_embeds=embedded, output_hidden_states=True)
    assert torch.equal(embedded, before)
    assert len(output.hidden_states) == 3
    assert len({states.sum().item() for states in output.hidden_states}) == 3


def test_nothing_is_left_of_a_text_beside_it():
    encoder = encoder_of(num_layers=2)
    long, short = torch.randn(1, 90, 64), torch.randn(1, 13, 64)
    both = torch.cat([long, nn.functional.pad(short, (0, 0, 0, 77))])
    together = states_of(encoder, both, [90, 13])
    assert torch.equal(together[:90], states_of(encoder, long, [90]))
    assert torch.equal(together[90:], states_of(encoder, short, [13]))


def hooked(block):
    block.layer[0].SelfAttention.register_forward_hook(lambda *_: None)


def adapted(block):
    inner = block.layer[1].DenseReluDense
    inner.wo = nn.Sequential(inner.wo)


def in_half(block):
    block.layer[0].layer_norm.bfloat16()


@pytest.mark.parametrize("change", [hooked, adapted, in_half])
def test_what_is_no_plain_block_is_left_to_its_modules(change, monkeypatch):
    encoder, embedded = encoder_of(), torch.randn(1, 20, 64)
    states_of(encoder, embedded, [20])
    called = calls_of(monkeypatch)
    change(encoder.block[0])
    states_of(encoder, embedded, [20])
    assert called == [encoder.block[0]]


@pytest.mark.parametrize("kind", ["relu", "gated-relu"])
def test_so_are_other_activations(kind, monkeypatch):
    encoder, called = encoder_of(feed_forward_proj=kind), calls_of(monkeypatch)
    states_of(encoder, torch.randn(1, 20, 64), [20])
    assert called == [encoder.block[0]]


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


def test_without_instructions_for_it_the_modules_compute(monkeypatch):
    encoder, embedded, called = encoder_of(), torch.randn(1, 20, 64), calls_of(monkeypatch)
    variant = Path(native.__file__).with_name("kernels-avx2.so")
    monkeypatch.setattr(native, "library", lambda: ctypes.CDLL(str(variant)))
    states_of(encoder, embedded, [20])
    assert called == [encoder.block[0]]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 100])
@pytest.mark.parametrize("outs", [1, 40, 64, 130])
def test_products_in_panels_are_those_of_onednn(rows, outs, monkeypatch):
    layer = Int8Linear.of(nn.Linear(100, outs, bias=False))
    x = quantize_rows(torch.randn(rows, 100))
    with torch.inference_mode():
        found = layer.multiply(x)
        monkeypatch.setattr(Panels, "fit", lambda _: False)
        torch.testing.assert_close(found, layer.multiply(x), rtol=1e-6, atol=1e-6)
