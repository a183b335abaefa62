"""A result says how a score falls with length and with noise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.evaluation.evaluate import describe, scores_under_noise, write_result
from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import Predictions, predict
from kebyt5.tasks import Example, get_task


@pytest.fixture
def ynat():
    task = get_task("ynat")
    titles = ["가" * n for n in (1, 2, 30, 40, 200)]
    examples = [Example(title, {"title": title}, "경제") for title in titles]
    return task, examples


def test_scores_by_length_are_those_of_the_examples_of_that_length(ynat):
    task, examples = ynat
    texts = ["경제", "사회", "경제", "경제", "세계"]
    found = describe(task, Predictions(examples, texts, 0))["by_length"]
    rows = [(*row["bytes"], row["examples"], row["scores"]["accuracy"]) for row in found]
    # The prompt has 17 bytes.
    assert rows == [(0, 64, 2, 50), (64, 128, 1, 100), (128, 256, 1, 100), (512, 1024, 1, 0)]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_every_example_is_in_the_bin_of_its_length(lengths):
    task = get_task("nsmc")
    prompt = len(task.input_text(task.example(document="")))
    examples = [Example("", {"document": "a" * n}, "positive") for n in lengths]
    rows = describe(task, Predictions(examples, ["positive"] * len(lengths), 0))["by_length"]
    for row in rows:
        low, high = row["bytes"]
        assert row["examples"] == sum(low <= n + prompt < high for n in lengths) > 0
    assert sum(row["examples"] for row in rows) == len(lengths)


def test_the_model_reads_noise_and_is_scored_against_what_was_meant(ynat, tiny_model, monkeypatch):
    task, examples = ynat
    model = tiny_model()
    clean = predict(model, task, examples)
    rows = scores_under_noise(model, task, clean, [0.5, 1.0], PredictOptions(), seed=1)
    assert [row["rate"] for row in rows] == [0, 0.5, 1]
    assert rows == scores_under_noise(model, task, clean, [0.5, 1.0], PredictOptions(), seed=1)
    seen = []

    def record(model, task, noisy, *arguments):
        seen.extend(noisy)
        return clean

    monkeypatch.setattr("kebyt5.evaluation.evaluate.predict", record)
    assert scores_under_noise(model, task, clean, [1.0])[1]["scores"] == rows[0]["scores"]
    assert all(n.inputs != e.inputs for n, e in zip(seen, examples, strict=True))
    assert [n.gold for n in seen] == [e.gold for e in examples]


def test_answers_to_noise_are_read_against_the_undamaged_sentence(dev_file, monkeypatch):
    task = get_task("ner")
    examples = task.read(dev_file)
    perfect = Predictions(examples, [task.target_text(example) for example in examples], 0)

    def answer(model, task, noisy, *arguments):
        return Predictions(noisy, perfect.texts, 0)

    monkeypatch.setattr("kebyt5.evaluation.evaluate.predict", answer)
    (_, row) = scores_under_noise(None, task, perfect, [0.5])
    assert row["scores"]["entity_macro_f1"] == 100
    assert row["scores"]["unparsed"] == 0


def test_a_result_is_a_folder_with_scores_predictions_and_a_curve(ynat, tmp_path):
    task, examples = ynat
    predictions = Predictions(examples, ["경제"] * 5, 0)
    metrics = describe(task, predictions, examples)
    write_result(tmp_path, task, predictions, metrics)
    assert json.loads((tmp_path / "metrics.json").read_text())["baseline"]["accuracy"] == 100
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 5
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")
