"""A pass by the compiled kernels says what the modules say, whatever its shape."""

import ctypes
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode

from kebyt5.generation.decoder import PackedDecoder
from kebyt5.models import kernels, native
from kebyt5.models.fast_path import fast_path
from kebyt5.models.feed_forward import gate_values
from kebyt5.models.int8 import Int8Linear, quantize_rows
from kebyt5.models.kernels import DecoderKernel, ProductKernel, UnfitError
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
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
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
    monkeypatch.setattr(kernels, "_CACHE", cache)  # with room in it, many rows have panels
    model = model_of(d_model=192, d_kv=40, d_ff=200)
    fast, slow = decoders_of(quantize(model) if is_int8 else model)
    with torch.inference_mode():
        states = [torch.randn(30, 192), torch.randn(7, 192)]
        for counts in ([1, 1], [4, 3], [1, 9]):
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


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 11])
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


def test_a_library_that_cannot_be_loaded_is_none(monkeypatch):
    def fail(path):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert native.library.__wrapped__() is None


@pytest.mark.parametrize("amx", [None, SimpleNamespace(allow_tiles=lambda: 0)])
def test_where_compiler_or_system_do_not_have_amx_vectors_compute(amx, monkeypatch):
    monkeypatch.setattr(native, "_processor_flags", lambda: native._VARIANTS["amx"])
    monkeypatch.setattr(native, "open_library", lambda p: amx if "amx" in p.name else p.name)
    assert native.library.__wrapped__() == "kernels-avx512.so"
    monkeypatch.setattr(native, "open_library", lambda p: p.name if "avx2" in p.name else None)
    flags = native._VARIANTS["amx"] | native._VARIANTS["avx2"]
    monkeypatch.setattr(native, "_processor_flags", lambda: flags)
    assert native.library.__wrapped__() == "kernels-avx2.so"


def test_one_variant_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(native, "_processor_flags", lambda: native._VARIANTS["amx"])
    monkeypatch.setattr(native, "open_library", lambda p: SimpleNamespace(name=p.name))
    monkeypatch.setenv("KEBYT5_KERNELS", "avx512")
    assert native.library.__wrapped__().name == "kernels-avx512.so"
    monkeypatch.setenv("KEBYT5_KERNELS", "avx2")
    with pytest.warns(UserWarning, match="KEBYT5_KERNELS=avx2: this processor runs amx, avx512$"):
        assert native.library.__wrapped__() is None


def test_the_kernels_are_there_where_there_is_a_compiler():
    if shutil.which("gcc") or "CI" in os.environ:
        compiled = {path.stem for path in Path(native.__file__).parent.glob("kernels-*.so")}
        assert compiled == {f"kernels-{variant}" for variant in native._VARIANTS}


def test_rounding_is_that_of_pytorch_to_the_last_digit(variant, monkeypatch):
    x = torch.randn(9, 203) * torch.logspace(-3, 3, 9)[:, None]
    x[4] = 0
    with torch.inference_mode():
        found = quantize_rows(x)
        monkeypatch.setattr(fast_path, "kernels", False)
        expected = quantize_rows(x)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.scale, expected.scale)


def test_gates(variant, monkeypatch):
    gate = torch.cat([torch.linspace(-20, 20, 300), torch.tensor([-1e4, -90.0, 0.0, 90.0, 1e4])])
    value = torch.randn(2, 5, 305)
    with torch.inference_mode():
        found = gate_values(gate.expand(2, 5, -1), value)
        monkeypatch.setattr(fast_path, "fused", False)
        expected = gate_values(gate.expand(2, 5, -1), value)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_compilers_trace_what_pytorch_does_in_its_place():
    gate = torch.randn(3, 8)
    compiled = torch.compile(gate_values, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(gate, gate), gate_values(gate, gate))


def test_tensors_without_memory_are_left_to_pytorch():
    with FakeTensorMode(), torch.inference_mode():
        gate = torch.empty(3, 8)
        assert gate_values(gate, gate).shape == (3, 8)
        assert quantize_rows(gate).scale.shape == (3, 1)
