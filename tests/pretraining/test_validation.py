"""Bits per byte, against their definition."""

import math

import pytest
import torch

from kebyt5.corpus.shards import ShardWriter
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


def test_training_mode_is_left_as_it_was_where_measuring_fails(tmp_path, tiny_model):
    model = tiny_model(vocab_size=200).train()
    with pytest.raises(IndexError):
        Validation(shards(tmp_path), 3, 2, input_length=128).bits_per_byte(model)
    assert model.training


def test_a_measurement_does_not_depend_on_batches(tmp_path, tiny_model):
    part = shards(tmp_path)
    results = [
        Validation(part, 5, size, input_length=128).bits_per_byte(tiny_model()) for size in (1, 4)
    ]
    assert results[0] == pytest.approx(results[1])


def test_no_validation_shards(tmp_path):
    assert validation_shards(tmp_path) is None
