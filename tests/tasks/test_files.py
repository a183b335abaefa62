import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from kebyt5.errors import InputError
from kebyt5.tasks.files import read_lines, read_records

TABLE = 'id\tdocument\tlabel\n1\t좋다 "참"\t1\n2\t\t0\n'
ROWS = [
    {"id": "1", "document": '좋다 "참"', "label": "1"},
    {"id": "2", "document": "", "label": "0"},
]


def write(folder: Path, content: str | bytes, name: str = "data.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TABLE, id="as published"),
        pytest.param("\ufeff" + TABLE, id="BOM"),
        pytest.param(TABLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(TABLE.replace("1\n", "1\r\n"), id="mixed line ends"),
        pytest.param(TABLE.rstrip("\n"), id="no last line end"),
        pytest.param("\n \n" + TABLE.replace("\n", "\n\r\n"), id="blank lines"),
    ],
)
def test_harmless_variants_of_a_table_read_the_same(tmp_path: Path, content: str) -> None:
    assert [record.fields for record in read_records(write(tmp_path, content))] == ROWS


def test_columns_without_a_name_may_be_several(tmp_path: Path) -> None:
    (record,) = read_records(write(tmp_path, "id\tlabel\t\t\n1\t2\t\t\n", "a.tsv"))
    assert record.text("label") == "2"


def test_a_record_knows_its_name_and_place(tmp_path: Path) -> None:
    path = write(tmp_path, "\n" + TABLE)
    assert [(r.id, r.place) for r in read_records(path)] == [("1", f"{path}:3"), ("2", f"{path}:4")]

    path = write(tmp_path, '\ufeff [ {"guid":\n"a"},\r\n\n {"b": [1,\n2]}, {} ]\n', "data.json")
    assert [(record.id, record.place) for record in read_records(path)] == [
        ("a", f"{path}:1"),
        ("2", f"{path}:4"),
        ("3", f"{path}:5"),
    ]


def test_a_name_is_text_or_a_number_or_where_there_is_none_the_place(tmp_path: Path) -> None:
    named = [{"id": 0}, {"id": 1}, {"guid": "", "id": "b"}, {"guid": None, "id": 2.5}, {"id": ""}]
    records = read_records(write(tmp_path, json.dumps(named), "data.json"))
    assert [record.id for record in records] == ["0", "1", "b", "2.5", "5"]
    assert [record.name for record in records] == ["0", "1", "b", "2.5", None]


def test_a_name_that_several_records_share_names_none_of_them(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps([{"id": "a"}, {"id": "b"}, {"id": "a"}]), "data.json")
    assert [record.id for record in read_records(path)] == ["a#1", "b", "a#3"]


def test_a_table_may_be_separated_by_commas(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,text\na,"하나, 둘"\nb,셋\n', "data.csv")
    assert [(r.id, r.text("text")) for r in read_records(path)] == [("a", "하나, 둘"), ("b", "셋")]
    path = write(tmp_path, "id\ttext\na\t하나, 둘\n", "tabs.csv")
    assert [(r.id, r.text("text")) for r in read_records(path)] == [("a", "하나, 둘")]


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    line = "가\u2028나\x85다\x0b라\x0c마\x1c바\r사"
    assert read_lines(write(tmp_path, f"{line}\r\n{line}")) == [(1, line), (2, line)]


@pytest.mark.parametrize(
    ("name", "content", "line", "problem"),
    [
        ("a.tsv", "", 1, "no examples"),
        ("a.tsv", "id\tlabel\n\n", 1, "no examples"),
        ("a.tsv", "id\tlabel\n\n1\n", 3, "1 column(s); expected 2, separated by tabs: id, label"),
        ("a.tsv", "id\tlabel\n1\t2\t3\n", 2, "3 column(s); expected 2"),
        ("a.tsv", "id\n" + "가\n", 2, ""),
        ("a.tsv", "\nid\tlabel\tlabel\n1\t2\t3\n", 2, "two columns are named 'label'"),
        ("a.csv", "label,id,label\n1,2,3\n", 1, "two columns are named 'label'"),
        ("a.tsv", "id\n가\n".encode("cp949"), 2, "CP949, but expected UTF-8"),
        ("a.json", "", 1, "not JSON (Expecting value at column 1)"),
        ("a.json", '[\n{"a": 1},\n{"a" 2}]', 3, "not JSON (Expecting ':' delimiter at column 6)"),
        ("a.json", '[\n{"a": 1},\n', 3, "not JSON"),
        ("a.json", '{"data": []}', 1, "not a list at the top; expected a list of objects"),
        ("a.json", "[" * 100_000, 1, "expected"),
        ("a.json", "[]", 1, "no examples"),
        ("a.json", "[" + "9" * 5000 + "]", 1, "4300 digits"),
        ("a.jsonl", "{}\n" + "9" * 5000, 2, "4300 digits"),
        ("a.json", '[{},\n{},\n\n["x"], {}]', 4, "record 3 is ['x']; expected an object"),
    ],
)
def test_bad_input_names_file_line_and_problem(
    tmp_path: Path, name: str, content: str | bytes, line: int, problem: str
) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(InputError) as caught:
        read_records(path)[0].text("label")
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message
    assert "expected" in message
    assert len(message.splitlines()) == 1


def test_a_value_of_another_kind_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, '[{},\n{"title": 3, "entity": "x"}]', "a.json")
    _, record = read_records(path)
    for wrong, problem in (
        (lambda: record.text("title"), "'title' is 3; expected text"),
        (lambda: record.text("label", "title"), "'title' is 3; expected text"),
        (lambda: record.part("entity"), "'entity' is x; expected an object"),
        (lambda: record.get("label", "gold"), "no 'label' or 'gold' here; expected it, found"),
    ):
        with pytest.raises(InputError, match=problem) as caught:
            wrong()
        assert str(caught.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize("name", ["missing.tsv", "missing.json", "missing.parquet"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read: "):
        read_records(tmp_path / name)


def test_parquet_reads_as_json_does(tmp_path: Path) -> None:
    rows = [{"guid": "a", "labels": {"label": 3.5}}, {"guid": "b", "labels": {"label": 0.0}}]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    records = read_records(path)
    other = read_records(write(tmp_path, json.dumps(rows), "a.json"))
    assert [record.fields for record in records] == [record.fields for record in other]
    assert [record.place for record in records] == [f"{path}:1", f"{path}:2"]

    with pytest.raises(InputError, match=r"a\.parquet:1: .*expected a whole Parquet file"):
        read_records(write(tmp_path, path.read_bytes()[:-8], "a.parquet"))


def test_half_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '[{"a": "\\ud800"}]', "data.json")
    (record,) = read_records(path)
    with pytest.raises(InputError, match=r"data\.json:1: 'a' contains half of a surrogate pair"):
        record.text("a")
