"""The floor counts every matrix product of a step once, at the rate of its shape."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kebyt5.bench import floor
from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.floor import (
    Gemm,
    Machine,
    Product,
    decoder_products,
    encoder_products,
    floor_parts,
    flops,
    positions,
    training_products,
)
from kebyt5.bench.weights import Weights, gbst_config, plain_config
from kebyt5.bench.workload import random_batch

SMALL = {"d_model": 8, "d_ff": 16, "d_kv": 4, "num_heads": 2, "num_layers": 3,
         "num_decoder_layers": 2, "vocab_size": 384}  # fmt: skip


def test_operations_are_those_counted_by_hand():
    config = plain_config("tiny", **SMALL)
    batch, n, t, inner = 2, 10, 5, 8
    encoder = 3 * batch * n * (4 * 8 * inner + 3 * 8 * 16 + 2 * n * inner)
    decoder = 2 * batch * t * (6 * 8 * inner + 3 * 8 * 16 + 2 * t * inner + 2 * n * inner)
    cross = 2 * batch * n * 2 * 8 * inner
    lm_head = batch * t * 8 * 384
    products = training_products(config, batch, n, t)
    assert flops(products, backward=False) == 2 * (encoder + decoder + cross + lm_head)
    assert flops(products, backward=True) == 3 * flops(products, backward=False)


def test_gbst_shortens_the_encoder_and_adds_its_projection():
    config = gbst_config("tiny", **SMALL)
    assert positions(config, 10) == 4
    plain = training_products(plain_config("tiny", **SMALL), 2, 4, 5)
    gbst = training_products(config, 2, 10, 5)
    assert flops(gbst, False) == flops(plain, False) + 2 * 2 * 4 * 8 * 8


@pytest.mark.parametrize("backward", [False, True])
def test_operations_are_those_that_pytorch_counts_in_transformers(backward):
    batch = random_batch(2, 50, 20)
    # Not sdpa: PyTorch does not count what its fused kernels do.
    runner = ALTERNATIVES["transformers-eager"](Weights.draw("tiny"))
    with FlopCounterMode(display=False) as counter:
        if backward:
            runner.train(batch)
        else:
            runner.model(**batch._asdict())
    products = training_products(plain_config("tiny"), 2, 50, 20)
    assert counter.get_total_flops() == flops(products, backward)


@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_gradients_have_the_shapes_and_layouts_of_the_backward_pass(layout):
    forward, first, second = Product("", 1, Gemm(1, 3, 5, 7, layout), True).passes(True)
    assert (first.m, first.n, first.k) == (3, 7, 5)
    assert first.layout == ("nn" if layout == "nt" else "nt")
    shape = (7, 5) if layout == "nn" else (5, 7)
    assert (second.m, second.n, second.k, second.layout) == (*shape, 3, "tn")
    assert forward.flops == first.flops == second.flops == 2 * 3 * 5 * 7


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


def test_a_decoded_byte_reads_weights_and_caches():
    config = plain_config("tiny", **SMALL)
    batch, n, cached = 2, 10, 3
    products = decoder_products(config, batch, n, 1, cached)
    weights = 2 * (6 * 8 * 8 + 3 * 8 * 16) + 8 * 384
    caches = 2 * 2 * batch * 8 * (n + cached + 1)
    assert sum(p.count * p.bytes_per_pass for p in products) == 4 * (weights + caches)


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
