"""Compiled functions are found, and compute what PyTorch does."""

import ctypes
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses import FakeTensorMode

from kebyt5.models import native
from kebyt5.models.fast_path import fast_path
from kebyt5.models.feed_forward import gate_values
from kebyt5.models.int8 import quantize_rows

pytestmark = pytest.mark.skipif(
    native.library() is None and "CI" not in os.environ,
    reason="kebyt5 was installed without a C compiler, or this is no Linux on x86-64",
)


def test_a_library_that_cannot_be_loaded_is_none(monkeypatch):
    def fail(path):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert native.library.__wrapped__() is None


@pytest.mark.parametrize("amx", [None, SimpleNamespace(allow_tiles=lambda: 0)])
def test_where_compiler_or_system_do_not_have_amx_vectors_compute(amx, monkeypatch):
    monkeypatch.delenv("KEBYT5_KERNELS", raising=False)
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
