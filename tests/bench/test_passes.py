"""A pass is measured against the bytes that it reads."""

import pytest
import torch

from kebyt5.bench.engines import EngineFloat32, EngineInt8
from kebyt5.bench.passes import Passes, bench_passes, bytes_read, encoder_ratio
from kebyt5.bench.weights import Weights, gbst_config
from kebyt5.bench.workload import random_batch
from kebyt5.generation.decoder import PackedDecoder
from kebyt5.models.products import decoder_products


def test_bytes_are_those_of_the_floor_and_a_quarter_in_eight_bits():
    weights, batch = Weights.draw("tiny"), random_batch(1, 90, 1)
    read = []
    for runner in (EngineFloat32(weights), EngineInt8(weights)):
        with torch.inference_mode():
            (cache,) = PackedDecoder(runner.model).cross_caches(runner.encode(batch))
        read.append(bytes_read(runner.model, cache))
    products = decoder_products(gbst_config("tiny"), 1, 30, 1, cached=-1)  # no bytes of its own
    assert read[0] == sum(p.count * p.bytes_per_pass for p in products)
    linear = sum(p.count * p.bytes_per_pass for p in products
                 if not p.name.endswith(("scores", "mixing", "head")))  # fmt: skip
    assert read[1] == read[0] - linear * 3 // 4


def test_ratios_are_taken_round_by_round():
    plain = Passes("float32", 4, [6.0, 8.0], {1: [0.3, 0.6]}, [0.2, 0.3])
    int8 = Passes("int8", 1, [2.0, 2.0], {1: [0.1, 0.1]}, [0.1, 0.1])
    assert plain.over_bandwidth(1) == pytest.approx((1.75, 1.5, 2.0))
    assert encoder_ratio([plain, int8]) == pytest.approx((3.5, 3.0, 4.0))


def test_every_number_of_rows_is_measured():
    for measured in bench_passes("tiny", 30, (1, 4), rounds=2):
        assert measured.decode.keys() == {1, 4}
        assert all(len(seconds) == 2 for seconds in measured.decode.values())
        assert min(measured.encode) > 0
