"""Predictions made elsewhere are scored like our own."""

import json
from dataclasses import replace

import numpy as np
import pytest

from kebyt5.errors import InputError
from kebyt5.evaluation.predict import Predictions
from kebyt5.evaluation.predictions import read_predictions, write_predictions
from kebyt5.tasks import Example, get_task


@pytest.fixture
def ner(dev_file):
    task = get_task("ner")
    return task, task.read(dev_file)


def test_plain_texts_and_our_own_jsonl(ner, tmp_path):
    task, examples = ner
    texts = [task.target_text(example) for example in examples]
    plain = tmp_path / "a.txt"
    plain.write_bytes("\r\n".join(texts).encode())
    assert read_predictions(task, plain, examples).texts == texts
    ours = tmp_path / "a.jsonl"
    ours.write_text(
        "\n".join(
            json.dumps({"id": example.id, "text": text}, ensure_ascii=False)
            for example, text in zip(examples, texts, strict=True)
        )
    )
    assert read_predictions(task, ours, examples).texts == texts


@pytest.mark.parametrize(
    "form",
    [
        "{}\n",
        "{}\nword_counts: 2\n",
        "{}\r\n word_count: 2\r\n",
        "{}\\nword_counts: 2\n",
        "lemmas: 서울 간다\n{}\nword_counts: 2\n",
        "{}\nword_cunts 2\n\n",
        "17\t{}\n",
        '"{}"\n',
        "<pad> {}\n",
    ],
)
def test_published_dependency_files_come_in_several_layouts(tmp_path, form):
    task = get_task("dp")
    words = "서울\t서울\tNNP\n간다\t가 ㄴ다\tVV+EF"
    examples = [task.example(sentence="서울 간다", words=words)] * 2
    path = tmp_path / "dp.txt"
    path.write_bytes((form.format("deprel: (1/2, 2, NP)▁(2/2, 0, VP)") * 2).encode())
    texts = read_predictions(task, path, examples).texts
    assert [task.parse(text, examples[0]).value for text in texts] == [((2, "NP"), (0, "VP"))] * 2


def test_lines_without_arcs_are_predictions_too(tmp_path):
    task = get_task("dp")
    examples = [task.example(sentence="서울", words="서울\t서울\tNNP")] * 3
    path = tmp_path / "dp.txt"
    path.write_text("deprel: (1/2, 0, NP)\n\nnonsense\n\n")
    assert read_predictions(task, path, examples).texts == ["deprel: (1/2, 0, NP)", "", "nonsense"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_objects_come_a_line_or_in_a_list(ner, tmp_path, name):
    task, examples = ner
    path = tmp_path / name
    records = [json.dumps({"id": e.id, "text": f"{n}"}) for n, e in enumerate(examples)]
    path.write_text("\n".join(records))
    assert read_predictions(task, path, examples).texts == list("012345")
    path.write_text(json.dumps(list("012345")))
    assert read_predictions(task, path, examples).texts == list("012345")


def test_ids_may_be_numbers(tmp_path):
    task = get_task("nsmc")
    data = tmp_path / "a.jsonl"
    records = [{"id": n, "document": "좋다", "label": "1", "text": "긍정"} for n in range(3)]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    examples = task.read(data)
    assert [example.id for example in examples] == ["0", "1", "2"]
    assert read_predictions(task, data, examples).texts == ["긍정"] * 3


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_predictions_may_be_for_the_first_examples_only(ner, tmp_path, name):
    task, examples = ner
    path = tmp_path / name
    texts = [str(n) for n in range(6)]
    for written in (texts[:2], texts):
        lines = [json.dumps({"text": text}) for text in written] if name == "a.jsonl" else written
        path.write_text("\n".join(lines))
        assert read_predictions(task, path, examples, limit=2).texts == texts[:2]


def test_lines_are_divided_as_the_limited_number_of_texts_has_it(tmp_path):
    mrc, path = get_task("mrc"), tmp_path / "mrc.txt"
    examples = [mrc.example(question="어디?", context="서울")] * 4
    texts = ["출력: 답0\n정답임", "출력: 답1\n정답임"]
    path.write_text("\n".join(texts))
    assert read_predictions(mrc, path, examples, limit=2).texts == texts
    dp = get_task("dp")
    examples = [dp.example(sentence="서울", words="서울\t서울\tNNP")] * 4
    path.write_text("lemmas: 서울\ndeprel: (1/1, 0, NP)\n" * 2)
    assert read_predictions(dp, path, examples, limit=2).texts == ["deprel: (1/1, 0, NP)"] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one\n", "1 predictions for 6 examples"),
        ("a.jsonl", '{"text": "a"}\n', "1 predictions for 6 examples"),
        ("a.jsonl", "{}\n" * 6, r":1: no 'text' here"),
        ("a.jsonl", '{"text": "\\ud800"}\n' * 6, r":1: 'text' contains half of a surrogate pair"),
        ("a.json", '["\\ud800"]', r":1: 'text' contains half of a surrogate pair"),
        ("a.json", '[{"text": "a"},\n{"text": 3}]', r":2: 'text' is 3; expected text"),
        ("a.jsonl", '{"text": "a", "id": "other"}\n' * 6, r":1: a prediction for 'other'"),
    ],
)
def test_predictions_of_other_data_are_refused(ner, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_predictions(*ner[:1], path, ner[1])


@pytest.fixture
def relations():
    task = get_task("re")
    inputs = dict.fromkeys(task.input_fields, "가")
    examples = [Example("", inputs, task.labels[n]) for n in (0, 3, 5)]
    table = np.random.default_rng(0).normal(size=(3, len(task.labels)))
    texts = [task.labels[best] for best in table.argmax(1)]
    return task, Predictions(examples, texts, 0, log_likelihoods=table)


def test_likelihoods_in_a_file_are_scored_as_those_of_a_model(relations, tmp_path):
    task, predictions = relations
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, predictions)
    found = read_predictions(task, path, predictions.examples)
    assert "auprc" in found.score(task)
    assert found.score(task) == pytest.approx(predictions.score(task))
    first = read_predictions(task, path, predictions.examples, limit=2)
    assert first.score(task) == pytest.approx(predictions.select([0, 1]).score(task))


def test_likelihoods_that_hardly_differ_come_back_as_they_were(relations, tmp_path):
    task, predictions = relations
    table = np.full((3, len(task.labels)), -9.0)
    table[:, 1], table[:, 3] = -0.50002, -0.50001
    close = replace(predictions, texts=[task.labels[3]] * 3, log_likelihoods=table)
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, close)
    found = read_predictions(task, path, close.examples)
    assert np.array_equal(found.log_likelihoods, table)


def test_predictions_for_the_same_inputs_may_have_other_names(ner, tmp_path):
    task, examples = ner
    path = tmp_path / "a.jsonl"
    rows = [{"id": f"{n}", "input": e.inputs, "text": "가"} for n, e in enumerate(examples)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_predictions(task, path, examples).texts == ["가"] * 6
    rows[0]["input"], rows[1]["input"] = rows[1]["input"], rows[0]["input"]
    rows[0]["id"], rows[1]["id"] = examples[0].id, examples[1].id
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=":1: a prediction for"):
        read_predictions(task, path, examples)


def test_examples_that_share_a_name_are_predicted_by_it(tmp_path):
    task = get_task("nsmc")
    data, path = tmp_path / "data.jsonl", tmp_path / "predictions.jsonl"
    rows = [{"id": name, "document": "좋다", "label": "1", "text": "positive"} for name in "778"]
    data.write_text("\n".join(map(json.dumps, rows)))
    path.write_text("\n".join(json.dumps({"id": r["id"], "text": r["text"]}) for r in rows))
    examples = task.read(data)
    assert [example.id for example in examples] == ["7#1", "7#2", "8"]
    assert read_predictions(task, path, examples).texts == ["positive"] * 3


def test_likelihoods_of_other_labels_or_another_text_are_refused(relations, tmp_path):
    task, predictions = relations
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, predictions)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["text"] = next(label for label in task.labels if label != rows[1]["text"])
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=f":2: the text is '{rows[1]['text']}', but"):
        read_predictions(task, path, predictions.examples)
    for value in (float("nan"), None):
        rows[0]["log_likelihoods"][task.labels[7]] = value
        path.write_text("\n".join(map(json.dumps, rows)))
        with pytest.raises(InputError, match=":1: 'log_likelihoods' has to be an object with one"):
            read_predictions(task, path, predictions.examples)
    del rows[0]["log_likelihoods"]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=":1: 'log_likelihoods' has to be an object with one"):
        read_predictions(task, path, predictions.examples)
