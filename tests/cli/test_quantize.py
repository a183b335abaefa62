"""`kebyt5 quantize`: a smaller checkpoint that scores as before, or none."""

import json
import re
from functools import partial

import pytest
import torch

import kebyt5
from kebyt5.generation import Engine
from kebyt5.models.int8 import Int8Linear


@pytest.fixture
def run(run):
    return partial(run, "quantize")


def test_writes_a_checkpoint_and_both_scores(run, checkpoint, dev_file, tmp_path):
    code, out, error = run(checkpoint, tmp_path / "int8", "--check", "ner", dev_file, "--constrain")
    assert (code, error) == (0, ""), error
    assert "entity_macro_f1" in out
    model = kebyt5.load(tmp_path / "int8")
    assert any(isinstance(module, Int8Linear) for module in model.decoder.modules())
    report = json.loads((tmp_path / "int8" / "quantization.json").read_text())
    assert report["check"]["before"].keys() == report["check"]["after"].keys()
    assert report["check"]["examples"] == report["check"]["calibrated_on"] == 6
    norms = [kebyt5.load(path).decoder.block[0].layer[0].layer_norm.weight
             for path in (checkpoint, tmp_path / "int8")]  # fmt: skip
    assert not torch.equal(*norms)  # channels are evened out
    assert report["check"]["generation"]["constrained"] is True
    assert report["commit"]
    assert (tmp_path / "int8" / "tokenizer_config.json").exists()


def test_refuses_where_the_score_drops(run, tmp_path):
    # A weight that meets only zeros changes nothing, but takes all eight bits for itself.
    model = kebyt5.load("tiny")
    with torch.no_grad():
        for block in model.decoder.block:
            feed_forward = block.layer[-1]
            feed_forward.layer_norm.weight[0] = 0
            feed_forward.DenseReluDense.wi_0.weight[:, 0] = 1e4
            feed_forward.DenseReluDense.wi_1.weight[:, 0] = 1e4
    model.save_pretrained(tmp_path / "outlier")
    texts = [f"task: NER\n\n### 입력\n{name}에 산다.\n" for name in ("서울", "김하늘 씨가 부산")]
    data = tmp_path / "data.jsonl"
    lines = [
        json.dumps({"text": text, "target": said.text})
        for text, said in zip(texts, Engine(model).generate(texts), strict=True)
    ]
    data.write_text("\n".join(lines))
    check = ("--check", "seq2seq", data, "--constrain")
    code, out, error = run(tmp_path / "outlier", tmp_path / "int8", *check)
    assert code == 2, out
    before, after = map(float, re.search(r"chrf ([0-9.]+) before, ([0-9.]+) after", error).groups())
    assert before == 100 > after + 0.3
    assert "more than 0.3 points lost; nothing is written" in error
    assert not (tmp_path / "int8").exists()
    code, out, error = run(tmp_path / "outlier", tmp_path / "int8", *check, "--max-drop", 100)
    assert code == 0, error
    assert f"{before:.2f} before, {after:.2f} after" in out


def test_how_to_check_needs_something_to_check(run, checkpoint, tmp_path):
    code, _, error = run(checkpoint, tmp_path / "int8", "--limit", 5)
    assert code == 2
    assert "give --check" in error
    assert not (tmp_path / "int8").exists()


def test_says_so_where_nothing_was_checked(run, checkpoint, tmp_path):
    code, out, _ = run(checkpoint, tmp_path / "int8")
    assert code == 0
    assert "Not checked" in out


@pytest.mark.parametrize("drop", ["nan", "-0.1"])
def test_a_drop_is_a_number_from_zero_on(run, checkpoint, tmp_path, drop):
    code, _, error = run(checkpoint, tmp_path / "int8", "--max-drop", drop)
    assert code == 2
    assert f"--max-drop {drop}" in error
    assert not (tmp_path / "int8").exists()
