"""Predictions made elsewhere are scored as our own."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.evaluation.predictions import read_predictions
from kebyt5.tasks import get_task


@pytest.fixture
def ner(dev_file):
    task = get_task("ner")
    return task, task.read(dev_file)


def test_plain_texts_and_our_own_jsonl(ner, tmp_path):
    task, examples = ner
    texts = [task.target_text(example) for example in examples]
    plain = tmp_path / "a.txt"
    plain.write_bytes("\r\n".join(texts).encode())
    assert read_predictions(task, plain, examples) == texts
    ours = tmp_path / "a.jsonl"
    ours.write_text(
        "\n".join(
            json.dumps({"id": example.id, "text": text}, ensure_ascii=False)
            for example, text in zip(examples, texts, strict=True)
        )
    )
    assert read_predictions(task, ours, examples) == texts


def test_published_dependency_files_have_one_or_two_lines_a_sentence(tmp_path):
    task = get_task("dp")
    words = "서울\t서울\tNNP\n간다\t가 ㄴ다\tVV+EF"
    examples = [task.example(sentence="서울 간다", words=words)] * 2
    path = tmp_path / "dp.txt"
    line = "deprel: (1/2, 2, NP)▁(2/2, 0, VP)\n"
    for content in (line * 2, (line + "word_counts: 2\n") * 2):
        path.write_text(content)
        texts = read_predictions(task, path, examples)
        assert [task.parse(text, examples[0]).reason for text in texts] == [None, None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one\n", "1 predictions for 6 examples"),
        ("a.jsonl", '{"text": "a"}\n', "1 predictions for 6 examples"),
        ("a.jsonl", "{}\n" * 6, r":1: expected a JSON object with the field 'text'"),
        ("a.jsonl", '{"text": "a", "id": "other"}\n' * 6, r":1: a prediction for 'other'"),
    ],
)
def test_predictions_of_other_data_are_refused(ner, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_predictions(*ner[:1], path, ner[1])
