"""A pass by the compiled kernels says what the modules say, whatever its shape."""

import os

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from kebyt5.generation.decoder import PackedDecoder
from kebyt5.models import decoder_kernel, native
from kebyt5.models.decoder_kernel import DecoderKernel, ProductKernel, UnfitError
from kebyt5.models.fast_path import fast_path
from kebyt5.models.int8 import Int8Linear
from kebyt5.quantization.quantize import quantize
from tests.models.samples import plain_model

pytestmark = pytest.mark.skipif(
    native.library() is None and "CI" not in os.environ,
    reason="kebyt5 was installed without a C compiler, or this is no Linux on x86-64",
)


def model_of(d_model=64, d_kv=16, num_heads=4, d_ff=96, layers=2, **changes):
    shape = {"d_model": d_model, "d_kv": d_kv, "num_heads": num_heads, "d_ff": d_ff}
    return plain_model("decoder", 0.3, num_decoder_layers=layers, **shape | changes)


def decoders_of(model):
    fast, slow = PackedDecoder(model), PackedDecoder(model)
    assert fast._kernel is not None
    fast._kernel.max_rows = 1000
    slow._kernel = slow._head = None
    return fast, slow


SHAPES = st.fixed_dictionaries(
    {
        "d_model": st.sampled_from([8, 36, 64, 132]),
        "d_kv": st.sampled_from([1, 6, 16, 40, 64, 72, 130]),
        "num_heads": st.sampled_from([4, 8]),
        "d_ff": st.sampled_from([4, 60, 100, 256]),
        "layers": st.integers(1, 3),
    }
)
REQUESTS = st.lists(  # positions of the input, and rows of each pass
    st.tuples(st.integers(1, 90), st.lists(st.integers(1, 11), min_size=2, max_size=3)),
    min_size=1,
    max_size=5,
)


# Finding a smaller example takes minutes, as each has models of its own.
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(shape=SHAPES, requests=REQUESTS, threads=st.sampled_from([1, 2]), data=st.data())
def test_states_are_those_of_the_modules(shape, requests, threads, data):
    model, before = model_of(**shape), torch.get_num_threads()
    fast, slow = decoders_of(model)
    states = [torch.randn(size, shape["d_model"]) for size, _ in requests]
    torch.set_num_threads(threads)
    with torch.inference_mode():
        ours, theirs = fast.cross_caches(states), slow.cross_caches(states)
        for number in range(2):
            counts = [rows[number] for _, rows in requests]
            ids = [torch.randint(3, 259, (count,)).tolist() for count in counts]
            found, expected = fast.step(ids, ours), slow.step(ids, theirs)
            assert (found - expected).norm() < 2e-5 * expected.norm()
            logits = slow.logits(expected)
            assert (fast.logits(found) - logits).norm() < 2e-5 * logits.norm()
            for count, our, their in zip(counts, ours, theirs, strict=True):
                our.length += count  # as if all were right, or some had to be taken back
                our.length -= data.draw(st.integers(0, count - 1))
                their.length = our.length
    torch.set_num_threads(before)


@pytest.mark.parametrize("is_int8", [False, True])
@pytest.mark.parametrize("cache", [0, 2**20])
def test_all_variants_compute_both_kinds_of_weights(variant, is_int8, cache, monkeypatch):
    monkeypatch.setattr(decoder_kernel, "_CACHE", cache)  # with room in it, many rows have panels
    model = model_of(d_model=192, d_kv=40, d_ff=600)
    fast, slow = decoders_of(quantize(model) if is_int8 else model)
    with torch.inference_mode():
        states = [torch.randn(30, 192), torch.randn(7, 192)]
        for counts in ([1, 1], [4, 3], [1, 9], [30, 29]):
            ids = [list(range(10, 10 + count)) for count in counts]
            found = fast.step(ids, fast.cross_caches(states))
            expected = slow.step(ids, slow.cross_caches(states))
            # Where a number lies between two steps, its last digit may decide about a step.
            tolerance = 0.03 * expected.abs().max().item() if is_int8 else 1e-4
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=tolerance)


def test_rows_of_eight_bits_do_not_depend_on_each_other(variant):
    fast, _ = decoders_of(quantize(model_of(d_model=128)))
    with torch.inference_mode():
        state = torch.randn(20, 128)
        together = fast.step([[5]] * 7, fast.cross_caches([state] * 7))
        alone = fast.step([[5]], fast.cross_caches([state]))
    assert torch.equal(together, alone.expand(7, -1))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 11, 50])
def test_a_single_product(variant, rows):
    layer, x = nn.Linear(100, 384, bias=False), torch.randn(rows, 100)
    with torch.inference_mode():
        torch.testing.assert_close(ProductKernel(layer)(x), layer(x), rtol=1e-4, atol=1e-5)
        rounded = Int8Linear.of(layer)
        torch.testing.assert_close(ProductKernel(rounded)(x), rounded(x), rtol=1e-6, atol=1e-6)


def hooked(model):
    model.decoder.block[0].layer[0].register_forward_hook(lambda *_: None)


def adapted(model):
    model.decoder.block[1].layer[2].DenseReluDense.wo = nn.Sequential(nn.Identity())


def biased(model):
    model.decoder.block[0].layer[1].EncDecAttention.o = nn.Linear(64, 64)


def half(model):
    model.decoder.block[0].layer[0].SelfAttention.q.bfloat16()


def odd(model):
    model.decoder.block[0].layer[0].SelfAttention.q = nn.Linear(64, 65, bias=False)


def mixed(model):
    attention = model.decoder.block[0].layer[0].SelfAttention
    attention.q = Int8Linear.of(attention.q)


@pytest.mark.parametrize("change", [hooked, adapted, biased, half, odd, mixed])
def test_other_than_plain_decoders_fall_back_to_their_modules(change):
    model = model_of()
    DecoderKernel(model.decoder)
    change(model)
    with pytest.raises(UnfitError):
        DecoderKernel(model.decoder)


@pytest.mark.parametrize("kind", ["relu", "gated-relu"])
def test_other_activations_too(kind):
    with pytest.raises(UnfitError):
        DecoderKernel(model_of(feed_forward_proj=kind).decoder)


def test_without_kernels_or_with_them_switched_off_the_modules_compute(monkeypatch):
    model = model_of()
    monkeypatch.setattr(fast_path, "kernels", False)
    assert PackedDecoder(model)._kernel is None
    monkeypatch.undo()
    monkeypatch.setattr(native, "library", lambda: None)
    decoder = PackedDecoder(model)
    with torch.inference_mode():
        hidden = decoder.step([[3]], decoder.cross_caches([torch.randn(5, 64)]))
        assert decoder.logits(hidden).shape == (1, 384)
