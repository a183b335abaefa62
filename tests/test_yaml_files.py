"""A YAML file is read strictly, or refused with the place of the mistake."""

import pytest

from kebyt5.errors import InputError
from kebyt5.yaml_files import load_yaml


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.yaml"


def test_variables_are_put_into_texts_and_nowhere_else(path, monkeypatch):
    monkeypatch.setenv("FOLDER", "b: [c")  # no YAML of its own
    path.write_text("a: {x: '${FOLDER}/d', y: ['${FOLDER}', 3]}\nb: $FOLDER\n# ${NOT_SET}\n")
    content = {"a": {"x": "b: [c/d", "y": ["b: [c", 3]}, "b": "$FOLDER"}
    assert load_yaml(path, "a recipe", variables=True) == content
    assert load_yaml(path, "a recipe")["a"]["x"] == "${FOLDER}/d"


def test_a_path_may_begin_at_home(path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/김")
    monkeypatch.setenv("FOLDER", "~/b")
    path.write_text("[~/a, '${FOLDER}', a~/b, ~root/d]")
    read = load_yaml(path, "a recipe", variables=True)
    assert read == ["/home/김/a", "/home/김/b", "a~/b", "~root/d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: 1\nb: [", r"a\.yaml:2: cannot be read as YAML \(a recipe\)"),
        (b"a: 1\nb: 2\na: 3", r"a\.yaml:3: .*'a' is given twice"),
        (b"a: {b: 1, b: 2}", r"a\.yaml:1: .*'b' is given twice"),
        (b"a: \xff", r"a\.yaml:1: not UTF-8"),
        ("a: 1\nb: 말뭉치".encode("cp949"), r"a\.yaml:2: CP949, .* \(iconv -f cp949 -t utf-8\)"),
        (b"a: 2024-13-45", r"a\.yaml: cannot be read as YAML \(a recipe\): month must be"),
        (b"a: [{b: '${NO_SUCH_NAME}'}]", r"a\.yaml: .* variable NO_SUCH_NAME is not set; set it"),
    ],
)
def test_other_files_are_refused(path, text, message):
    path.write_bytes(text)
    with pytest.raises(InputError, match=message):
        load_yaml(path, "a recipe", variables=True)


def test_a_file_that_is_not_there_is_named(path):
    with pytest.raises(InputError, match=r"a\.yaml: .*No such file"):
        load_yaml(path, "options")
