"""New inputs are read from a command line or a file."""

import pytest

from kebyt5.errors import InputError
from kebyt5.evaluation.inputs import read_inputs
from kebyt5.tasks import get_task


def test_inputs_come_from_texts_or_lines(tmp_path):
    task = get_task("ner")
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeff하나\r\n\n 둘 \n".encode())
    assert [e.inputs["sentence"] for e in read_inputs(task, path)] == ["하나", " 둘 "]
    assert [e.place for e in read_inputs(task, path)] == [f"{path}:1", f"{path}:3"]
    assert [e.inputs["sentence"] for e in read_inputs(task, ["셋"])] == ["셋"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "contains no input"), (b"a\n\xff\n", r":2: not UTF-8")],
)
def test_unreadable_inputs_are_refused(tmp_path, content, message):
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_inputs(get_task("ner"), path)


@pytest.mark.parametrize("name", ["ratings.tsv", "ynat.json", "a.CSV", "a.parquet"])
def test_data_files_are_not_read_as_texts(tmp_path, name):
    (tmp_path / name).write_text("id\tdocument\tlabel\n")
    with pytest.raises(InputError, match=rf"{name}: a data file.*kebyt5 evaluate --data"):
        read_inputs(get_task("nsmc"), tmp_path / name)


def test_bytes_that_are_no_characters_are_refused_on_the_command_line():
    with pytest.raises(InputError, match="not UTF-8"):
        read_inputs(get_task("ner"), ["\udcff"])


def test_tasks_with_several_fields_take_objects():
    class Pair(type(get_task("ner"))):
        input_fields = ("first", "second")

    examples = read_inputs(Pair(), ['{"first": "a", "second": "b"}'])
    assert examples[0].inputs == {"first": "a", "second": "b"}
    for text, problem in (
        ('{"first": "a"}', r"missing: \['second'\]"),
        ('{"first": "a", "second": "b", "third": 3}', r"unknown: \['third'\]"),
        ('{"first": "a", "second": 2}', "not all values are text"),
        ("[1]", "not an object"),
        ("plain", "Expecting value"),
        ("1" * 5000, "4300 digits"),
        ("[" * 100_000, "recursion"),
    ):
        with pytest.raises(InputError, match=f"input:1: expected a JSON object.*{problem}"):
            read_inputs(Pair(), [text])


def test_half_a_character_in_json_is_refused_before_anything_is_predicted():
    text = '{"premise": "\\ud83d", "hypothesis": "가"}'
    with pytest.raises(InputError, match="input:1: not UTF-8"):
        read_inputs(get_task("nli"), [text])


def test_objects_may_name_themselves():
    texts = [f'{{"premise": "가", "hypothesis": "나"{more}}}' for more in ("", ', "guid": "x-1"')]
    assert [example.id for example in read_inputs(get_task("nli"), texts)] == ["1", "x-1"]


def test_a_dialogue_is_an_object_as_it_has_several_lines():
    (example,) = read_inputs(get_task("wos"), ['{"dialogue": "사용자: 하나\\n시스템: 둘"}'])
    assert example.inputs == {"dialogue": "사용자: 하나\n시스템: 둘"}
    with pytest.raises(InputError, match="expected a JSON object with the fields dialogue"):
        read_inputs(get_task("wos"), ["사용자: 하나"])


def test_a_jsonl_file_has_objects_for_any_task(tmp_path):
    path = tmp_path / "dialogues.jsonl"
    path.write_text('{"dialogue": "사용자: 하나\\n시스템: 둘"}\n')
    (example,) = read_inputs(get_task("wos"), path)
    assert example.inputs == {"dialogue": "사용자: 하나\n시스템: 둘"}
