"""`kebyt5 quantize`: writes a smaller checkpoint with about the same score, or none."""

import json
from functools import partial

import pytest
import torch

import kebyt5
from kebyt5.errors import InputError
from kebyt5.models.int8 import Int8Linear


@pytest.fixture
def run(run):
    return partial(run, "quantize")


def test_writes_a_checkpoint_and_both_scores(run, checkpoint, dev_file, tmp_path):
    options = ("--check", "ner", dev_file, "--constrain", "--max-drop", 5)
    code, out, error = run(checkpoint, tmp_path / "int8", *options)
    assert (code, error) == (0, ""), error
    assert "entity_macro_f1" in out
    model = kebyt5.load(tmp_path / "int8")
    assert any(isinstance(module, Int8Linear) for module in model.decoder.modules())
    report = json.loads((tmp_path / "int8" / "quantization.json").read_text())
    assert report["check"]["before"].keys() == report["check"]["after"].keys()
    assert report["check"]["max_drop"] == 5
    assert report["check"]["examples"] == report["check"]["calibrated_on"] == 6
    norms = [kebyt5.load(path).decoder.block[0].layer[0].layer_norm.weight
             for path in (checkpoint, tmp_path / "int8")]  # fmt: skip
    assert not torch.equal(*norms)  # channels are evened out
    assert report["check"]["generation"]["constrained"] is True
    assert report["made"]["commit"]
    assert (tmp_path / "int8" / "tokenizer_config.json").exists()


def test_where_it_is_refused_nothing_is_written(run, checkpoint, dev_file, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise InputError("too many points lost")

    monkeypatch.setattr("kebyt5.quantization.check.quantize_checked", refuse)
    code, out, error = run(checkpoint, tmp_path / "int8", "--check", "ner", dev_file)
    assert (code, out, error) == (2, "", "error: too many points lost\n")
    assert not (tmp_path / "int8").exists()


def test_how_to_check_needs_something_to_check(run, checkpoint, tmp_path):
    code, _, error = run(checkpoint, tmp_path / "int8", "--limit", 5)
    assert code == 2
    assert "give --check" in error
    assert not (tmp_path / "int8").exists()


def test_says_so_where_nothing_was_checked(run, checkpoint, tmp_path):
    code, out, _ = run(checkpoint, tmp_path / "int8")
    assert code == 0
    assert "Not checked" in out


@pytest.mark.usefixtures("no_stdout")
def test_what_cannot_be_printed_is_written_all_the_same(run, checkpoint, tmp_path):
    with pytest.raises(OSError, match="nothing can be printed"):
        run(checkpoint, tmp_path / "int8")
    assert (tmp_path / "int8" / "model.safetensors").exists()
    assert (tmp_path / "int8" / "quantization.json").exists()


@pytest.mark.parametrize("drop", ["nan", "-0.1"])
def test_a_drop_is_a_number_from_zero_on(run, checkpoint, tmp_path, drop):
    code, _, error = run(checkpoint, tmp_path / "int8", "--max-drop", drop)
    assert code == 2
    assert f"--max-drop {drop}" in error
    assert not (tmp_path / "int8").exists()
