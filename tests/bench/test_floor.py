"""The floor of a step is the time of its products at the rates of this machine."""

import pytest
import torch

from kebyt5.bench import floor
from kebyt5.bench.floor import Machine, floor_parts
from kebyt5.bench.weights import gbst_config, plain_config
from kebyt5.models.products import Gemm, Product, encoder_products


def test_longer_of_arithmetic_and_memory_counts(monkeypatch):
    monkeypatch.setattr(floor, "measure_gemm", lambda gemm: gemm.flops / 1e9)
    monkeypatch.setattr(floor, "measure_bandwidth", lambda: 1e6)
    machine = Machine()
    gemm = Gemm(1, 100, 5, 7, "nt")
    arithmetic, memory = gemm.flops / 1e9, 4 * 5 * 7 / 1e6
    assert memory > arithmetic
    assert machine.floor([Product("", 3, gemm, True)], True) == pytest.approx(9 * memory)
    assert machine.floor([Product("", 3, gemm, False)], True) == pytest.approx(9 * arithmetic)


def test_a_rate_is_measured_once_a_round(monkeypatch):
    measured = []
    monkeypatch.setattr(floor, "measure_gemm", lambda gemm: measured.append(gemm) or 1.0)
    machine = Machine()
    products = encoder_products(plain_config("tiny"), 1, 16)
    for _ in range(2):
        machine.floor(products, backward=True)
    assert len(measured) == len(set(measured)) < sum(p.count * 3 for p in products)
    machine.forget()
    machine.floor(products, backward=True)
    assert len(measured) == 2 * len(set(measured))


def test_generation_is_encoding_and_bytes(monkeypatch):
    monkeypatch.setattr(floor, "measure_gemm", lambda gemm: gemm.flops / 1e9)
    monkeypatch.setattr(floor, "measure_bandwidth", lambda: 1e9)
    config = gbst_config("tiny")
    parts = floor_parts(Machine(), "generate", config, (1, 60, 8))
    assert parts["total"] == pytest.approx(parts["encode"] + 8 * parts["byte"])
    encode = floor_parts(Machine(), "encode", config, (1, 60, 8))["encode"]
    assert 0 < encode < parts["encode"]


def test_measured_rates_are_those_of_the_product():
    seconds = floor.measure_gemm(Gemm(2, 64, 64, 64, "tn"))
    assert 0 < seconds < 1
    assert floor.measure_bandwidth(2**22) > 0


def test_products_of_every_layout_compute():
    for layout in ("nn", "nt", "tn"):
        assert floor.measure_gemm(Gemm(1, 3, 5, 7, layout)) > 0
    assert torch.equal(floor._factor(1, 3, 5, True), torch.full((1, 3, 5), 0.5))
