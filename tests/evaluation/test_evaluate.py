"""Predictions are made within limits and written as anyone can read them."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.evaluation.evaluate import fit, predict, write_predictions
from kebyt5.evaluation.inputs import read_inputs
from kebyt5.tasks import get_task


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    monkeypatch.setattr("kebyt5.tasks.ner.NER.max_target_bytes", lambda self, example: 12)


def test_predictions_keep_the_order_of_the_examples(tiny_model, dev_file, tmp_path):
    task = get_task("ner")
    examples = task.read(dev_file)
    predictions = predict(tiny_model(), task, examples, batch_size=4)
    assert len(predictions.texts) == 6
    assert predictions.truncated == 0
    backwards = predict(tiny_model(), task, examples[::-1], batch_size=4)
    assert predictions.texts == backwards.texts[::-1]

    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, predictions)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record["id"] for record in records] == [example.id for example in examples]
    assert [record["text"] for record in records] == predictions.texts
    assert records[0]["target"] == task.target_text(examples[0])


def test_texts_are_cut_between_characters_or_refused():
    assert fit("가나다", 9, False, "here") == ("가나다", False)
    assert fit("가나다", 8, False, "here") == ("가나", True)
    with pytest.raises(InputError, match=r"here: 9 bytes, over the limit of 8"):
        fit("가나다", 8, True, "here")


def test_inputs_come_from_texts_or_lines(tmp_path):
    task = get_task("ner")
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeff하나\r\n\n 둘 \n".encode())
    assert [e.inputs["sentence"] for e in read_inputs(task, path)] == ["하나", " 둘 "]
    assert [e.place for e in read_inputs(task, path)] == [f"{path}:1", f"{path}:3"]
    assert [e.inputs["sentence"] for e in read_inputs(task, ["셋"])] == ["셋"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "holds no input"), (b"a\n\xff\n", r":2: not UTF-8")],
)
def test_unreadable_inputs_are_refused(tmp_path, content, message):
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_inputs(get_task("ner"), path)


def test_bytes_that_are_no_characters_are_refused_on_the_command_line():
    with pytest.raises(InputError, match="not UTF-8"):
        read_inputs(get_task("ner"), ["\udcff"])


def test_tasks_with_several_fields_take_objects():
    class Pair(type(get_task("ner"))):
        input_fields = ("first", "second")

    examples = read_inputs(Pair(), ['{"first": "a", "second": "b"}'])
    assert examples[0].inputs == {"first": "a", "second": "b"}
    for text in ('{"first": "a"}', "[1]", "plain"):
        with pytest.raises(InputError, match=r"input:1: expected a JSON object"):
            read_inputs(Pair(), [text])
