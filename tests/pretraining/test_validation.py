"""Bits per byte and model FLOPs, against their definitions."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config

from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.models.fused import fast_path
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.pretraining.flops import measured_peak, training_flops
from kebyt5.pretraining.validation import Validation, validation_shards


def shards(folder):
    for source, text in (("film", "재미있는 영화였다. "), ("law", "제1조 목적은 다음과 같다. ")):
        with ShardWriter(folder / "validation" / source, "0") as writer:
            writer.write(text * 100)
    return validation_shards(folder)


def test_all_ids_are_charged_to_the_masked_bytes(tmp_path, tiny_model):
    model = tiny_model()
    torch.nn.init.zeros_(model.lm_head.weight)  # every id is as likely as any other
    validation = Validation(shards(tmp_path), 3, 2, input_length=128)
    bits = validation.bits_per_byte(model.train())
    assert model.training
    ids = masked = 0
    for name in ("film", "law"):
        total = validation.examples.chunks_of(name)
        _, labels = validation.examples.of_source(name, [0, round((total - 1) / 2), total - 1])
        source_ids = (labels != -100).sum()
        source_masked = ((labels >= 3) & (labels < 248)).sum()
        assert bits[name] == pytest.approx(math.log2(384) * source_ids / source_masked)
        ids, masked = ids + source_ids, masked + source_masked
    assert bits["all"] == pytest.approx(math.log2(384) * ids / masked)


def test_a_measurement_does_not_depend_on_batches(tmp_path, tiny_model):
    part = shards(tmp_path)
    results = [
        Validation(part, 5, size, input_length=128).bits_per_byte(tiny_model()) for size in (1, 4)
    ]
    assert results[0] == pytest.approx(results[1])


def test_no_validation_shards(tmp_path):
    assert validation_shards(tmp_path) is None
    assert isinstance(shards(tmp_path), Shards)


@pytest.mark.parametrize("gbst", [False, True])
def test_flops_are_those_of_the_products_that_run(tiny_model, gbst, monkeypatch):
    monkeypatch.setattr(fast_path, "onednn", False)  # whose products the counter does not know
    if gbst:
        model = tiny_model(d_model=128, d_kv=32, d_ff=256, attn_implementation="eager")
    else:
        config = T5Config(
            vocab_size=384, d_model=128, d_kv=32, d_ff=256, num_heads=4, num_layers=2,
            num_decoder_layers=2, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
            attn_implementation="eager", decoder_start_token_id=0,
        )  # fmt: skip
        model = KEByT5ForConditionalGeneration(config)
    inputs, labels = torch.full((1, 240), 5), torch.full((1, 60), 5)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=inputs, labels=labels).loss.backward()
    counted = counter.get_total_flops() / training_flops(model, 240, 60)
    # How GBST mixes and pools is its own affair; in a model as small as this it shows.
    assert counted == pytest.approx(1.2 if gbst else 1, abs=0.2 if gbst else 0.02)


def test_the_peak_is_measured():
    assert measured_peak(torch.device("cpu"), torch.float32) > 1e8
