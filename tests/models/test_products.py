"""Every matrix product of a pass is listed once."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.weights import Weights, gbst_config, plain_config
from kebyt5.bench.workload import random_batch
from kebyt5.models.fast_path import fast_path
from kebyt5.models.products import (
    Gemm,
    Product,
    decoder_products,
    flops,
    positions,
    training_products,
)

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


@pytest.mark.parametrize("gbst", [False, True])
def test_operations_are_those_that_pytorch_counts_in_our_models(tiny_model, gbst, monkeypatch):
    monkeypatch.setattr(fast_path, "onednn", False)  # whose products the counter does not know
    model = tiny_model(gbst, d_model=128, d_kv=32, d_ff=256, attn_implementation="eager")
    inputs, labels = torch.full((1, 240), 5), torch.full((1, 60), 5)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=inputs, labels=labels).loss.backward()
    ratio = counter.get_total_flops() / flops(training_products(model.config, 1, 240, 60), True)
    # How GBST mixes and pools is its own affair; in a model as small as this it shows.
    assert ratio == pytest.approx(1.2 if gbst else 1, abs=0.2 if gbst else 0.02)


@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_gradients_have_the_shapes_and_layouts_of_the_backward_pass(layout):
    forward, first, second = Product("", 1, Gemm(1, 3, 5, 7, layout), True).passes(True)
    assert (first.m, first.n, first.k) == (3, 7, 5)
    assert first.layout == ("nn" if layout == "nt" else "nt")
    shape = (7, 5) if layout == "nn" else (5, 7)
    assert (second.m, second.n, second.k, second.layout) == (*shape, 3, "tn")
    assert forward.flops == first.flops == second.flops == 2 * 3 * 5 * 7


def test_a_decoded_byte_reads_weights_and_caches():
    config = plain_config("tiny", **SMALL)
    batch, n, cached = 2, 10, 3
    products = decoder_products(config, batch, n, 1, cached)
    weights = 2 * (6 * 8 * 8 + 3 * 8 * 16) + 8 * 384
    caches = 2 * 2 * batch * 8 * (n + cached + 1)
    assert sum(p.count * p.bytes_per_pass for p in products) == 4 * (weights + caches)
