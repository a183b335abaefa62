import csv
import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from kebyt5.errors import InputError
from kebyt5.tasks.seq2seq import Seq2Seq
from kebyt5.tasks.task import Example

seq2seq = Seq2Seq()

PAIR = Example("s", {"text": "제주 바다 에"}, "제주 바다에")


def test_texts_are_the_columns() -> None:
    assert seq2seq.input_text(PAIR) == "제주 바다 에"
    assert seq2seq.target_text(PAIR) == "제주 바다에"
    with pytest.raises(ValueError, match="no gold for the text '가'"):
        seq2seq.target_text(seq2seq.example(text="가"))


@given(st.text(st.characters()))
def test_any_text_is_its_answer(text: str) -> None:
    parsed = seq2seq.parse(text, PAIR)
    assert parsed == (text, None if text.strip() else "empty")
    assert seq2seq.to_json(parsed, PAIR) == text
    assert seq2seq.max_target_bytes(PAIR) > 0


def test_the_score_counts_empty_texts() -> None:
    result = seq2seq.score([PAIR, PAIR], ["제주 바다에", ""])
    assert result["exact_match"] == 50
    assert result["unparsed"] == 1
    assert seq2seq.main_score in result


ROWS = [('가, "나"', "다"), ("라\u2028 마", "\\n바")]
EXPECTED = [({"text": text}, target) for text, target in ROWS]
FILES = {
    "a.tsv": 'id\ttext\ttarget\n1\t가, "나"\t다\n\n2\t라\u2028 마\t\\n바',
    "b.csv": 'target,text\n다,"가, ""나"""\n\n\\n바,라\u2028 마',
    "c.jsonl": "\n\n".join(json.dumps({"text": t, "target": g, "n": 1}) for t, g in ROWS),
    "d.json": json.dumps([{"text": t, "target": g} for t, g in ROWS]),
    "E.CSV": 'text,target\n"가, ""나""",다\n라\u2028 마,\\n바\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_is_read_by_its_name(tmp_path: Path, name: str, start: str, line_end: str) -> None:
    path = tmp_path / name
    path.write_bytes((start + FILES[name].replace("\n", line_end)).encode())
    assert [(e.inputs, e.gold) for e in seq2seq.read(path)] == EXPECTED


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    table = pyarrow.Table.from_pylist([{"text": t, "target": g} for t, g in ROWS])
    parquet.write_table(table, tmp_path / "f.parquet")
    assert [(e.inputs, e.gold) for e in seq2seq.read(tmp_path / "f.parquet")] == EXPECTED
    parquet.write_table(table.drop_columns("target"), tmp_path / "f.parquet")
    with pytest.raises(InputError, match="parquet:1: no 'target' here"):
        seq2seq.read(tmp_path / "f.parquet")


def test_a_field_in_quotes_may_have_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,target\n"가\n나",다\n라,마\n', encoding="utf-8")
    examples = seq2seq.read(path)
    assert [(e.inputs["text"], e.place) for e in examples] == [
        ("가\n나", f"{path}:2"),
        ("라", f"{path}:4"),
    ]


def test_a_field_may_be_of_any_length(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)  # as a process begins
    path = tmp_path / "a.csv"
    path.write_text(f"text,target\n{'가' * 140_000},나\n", encoding="utf-8")
    (example,) = seq2seq.read(path)
    assert len(example.inputs["text"]) == 140_000


@pytest.mark.parametrize(
    ("name", "text", "line", "problem"),
    [
        ("a.tsv", "", 1, "no examples"),
        ("a.tsv", "text\ttarget\n", 1, "no examples"),
        ("a.tsv", "input\toutput\n가\t나\n", 2, "no 'text' here"),
        ("a.tsv", "text\ttarget\n\n가\n", 3, "expected 2, separated by tabs"),
        ("a.tsv", "text\ttarget\n가\t\n", 2, "'target' is empty"),
        ("a.csv", "", 1, "no examples"),
        ("a.csv", "text;target\n가;나\n", 2, "no 'text' here"),
        ("a.csv", 'text,target\n"가\n",나\n다,라,마\n', 4, "3 columns; expected 2"),
        ("a.csv", 'text,target\n가,나\n"다,라\n', 3, "unexpected end of data"),
        ("a.jsonl", "\n", 1, "no examples"),
        ("a.jsonl", '{"text": "가", "target": "나"}\n\n{"text": "가"}', 3, "no 'target' here"),
        ("a.jsonl", '{"text": "가", "target": "나"}\n{"text"', 2, "not JSON"),
        ("a.jsonl", '["가", "나"]', 1, "not an object"),
        ("a.jsonl", '{"text": "가", "target": 3}', 1, "'target' is 3; expected text"),
        ("a.jsonl", '{"text": "", "target": "나"}', 1, "'text' is empty"),
    ],
)
def test_bad_input_names_file_line_and_problem(
    tmp_path: Path, name: str, text: str, line: int, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        seq2seq.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message
    assert "expected" in message
    assert len(message.splitlines()) == 1


def test_a_data_set_saved_to_disk_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list(
        [{"text": "가", "target": "나"}, {"text": "b", "target": "c"}]
    )
    rows.save_to_disk(tmp_path / "one")
    found = seq2seq.read(tmp_path / "one")
    assert [(e.id, e.inputs["text"], e.gold) for e in found] == [("1", "가", "나"), ("2", "b", "c")]
    datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / "split")
    assert len(seq2seq.read(tmp_path / "split" / "train")) == 2
    with pytest.raises(InputError, match="splits train; name the folder of one"):
        seq2seq.read(tmp_path / "split")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be read as a data set"):
        seq2seq.read(tmp_path / "empty")


def test_a_data_set_on_the_hub_is_asked_for_by_name_and_split(monkeypatch) -> None:
    import datasets

    asked = []

    def load_dataset(name: str, split: str) -> object:
        asked.append((name, split))
        return datasets.Dataset.from_list([{"text": "가", "target": "나"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert seq2seq.read(Path("hf:owner/name:test"))[0].gold == "나"
    assert seq2seq.read("hf:owner/name")[0].gold == "나"
    assert asked == [("owner/name", "test"), ("owner/name", "train")]
