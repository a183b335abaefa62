"""`kebyt5 quantize`: a smaller checkpoint that scores as before, or none."""

import json
from functools import partial

import pytest

import kebyt5
from kebyt5.models.int8 import Int8Linear


@pytest.fixture
def run(run, monkeypatch):
    monkeypatch.setattr("kebyt5.tasks.ner.NER.max_target_bytes", lambda self, example: 12)
    return partial(run, "quantize")


def test_writes_a_checkpoint_and_both_scores(run, checkpoint, dev_file, tmp_path):
    code, out, error = run(checkpoint, tmp_path / "int8", "--check", "ner", dev_file)
    assert (code, error) == (0, ""), error
    assert "entity_macro_f1" in out
    model = kebyt5.load(tmp_path / "int8")
    assert any(isinstance(module, Int8Linear) for module in model.decoder.modules())
    report = json.loads((tmp_path / "int8" / "quantization.json").read_text())
    assert report["check"]["before"].keys() == report["check"]["after"].keys()
    assert report["check"]["examples"] == 6
    assert report["commit"]
    code, _, error = run(tmp_path / "int8", tmp_path / "again")
    assert code == 2
    assert "eight bits already" in error


def test_refuses_where_the_score_drops(run, checkpoint, dev_file, tmp_path, monkeypatch):
    scores = iter([{"entity_macro_f1": 80.0}, {"entity_macro_f1": 79.0}])
    monkeypatch.setattr("kebyt5.tasks.ner.NER.score", lambda *_: next(scores))
    code, _, error = run(checkpoint, tmp_path / "int8", "--check", "ner", dev_file)
    assert code == 2
    assert "80.00 before, 79.00 after" in error
    assert not list((tmp_path / "int8").iterdir())


def test_says_so_where_nothing_was_checked(run, checkpoint, tmp_path):
    code, out, _ = run(checkpoint, tmp_path / "int8")
    assert code == 0
    assert "Not checked" in out
