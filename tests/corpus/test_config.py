"""A recipe is read correctly, or refused with the place of the mistake."""

from pathlib import Path

import pytest
import yaml

from kebyt5.corpus.config import CorpusConfig, dump_config, load_config
from kebyt5.errors import InputError

GOOD = """
output: ${CORPUS_OUTPUT}/a
sources:
  - name: news
    reader: jsonl
    paths: ${CORPUS_OUTPUT}/*.jsonl
    text: body
    encoding: cp949
    weight: 0.5
    replace: [["<(.*?)>", '\\1']]
  - {name: books, paths: [a.txt, b.txt]}
filters: {min_hangul: 0.5}
executor: {kind: ray, tasks: 3}
"""


def load(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_config(path)


def test_options_of_the_reader_stand_beside_those_of_the_source(tmp_path, monkeypatch):
    monkeypatch.setenv("CORPUS_OUTPUT", "/data")
    config = load(tmp_path, GOOD)
    news, books = config.sources
    assert (str(config.output), news.paths) == ("/data/a", ["/data/*.jsonl"])
    assert (news.reader.text, news.reader.encoding, news.weight) == ("body", "cp949", 0.5)
    assert news.replace == [("<(.*?)>", r"\1")]
    assert (type(books.reader).__name__, books.paths) == ("TextReader", ["a.txt", "b.txt"])
    assert (config.filters.min_hangul, config.executor.tasks) == (0.5, 3)


def test_a_dumped_recipe_is_the_same_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("CORPUS_OUTPUT", "/data")
    config = load(tmp_path, GOOD)
    assert load(tmp_path, yaml.safe_dump(dump_config(config))) == config


def test_what_is_given_beside_a_recipe_is_checked_like_the_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("sources: [{name: a, paths: a.txt}]\n")
    config = load_config(path, tmp_path / "out", workers=2, kind=None)
    assert (config.output, config.executor.workers) == (tmp_path / "out", 2)
    assert config.executor.kind == "local"
    with pytest.raises(InputError, match=r"slurm without executor\.partition"):
        load_config(path, tmp_path / "out", kind="slurm")


SOURCE = "output: a\nsources: [{name: a, paths: a.txt}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a recipe"),
        ("a: [", r":1: cannot be read as YAML \(a recipe\)"),
        (SOURCE + "sources: []", ":3: .*'sources' is given twice"),
        ("? [a]\n: b", r":1: cannot be read as YAML \(a recipe\): found unhashable key"),
        ("output: a", "no list of `sources`"),
        ("output: a\nsources: [3]", r"sources\[0\]: 3; expected name, reader and paths"),
        ("output: ${NO_SUCH_NAME}\nsources: []", "variable NO_SUCH_NAME is not set"),
        (SOURCE.replace("output: a", ""), "output: Field required"),
        (
            SOURCE.replace("a.txt", "a.txt, sise: 3"),
            r"\(a\): unknown option 'sise'; known: name, paths",
        ),
        (SOURCE.replace("a.txt", "[]"), r"\(a\): paths: empty; name files, folders or patterns"),
        (SOURCE.replace("a.txt", "''"), r"\(a\): paths: empty"),
        (SOURCE.replace("a.txt", "a.txt, reader: txt"), "did you mean 'text'"),
        (SOURCE.replace("a.txt", "a.txt, weight: -1"), "weight -1.0 of a; expected more than 0"),
        (SOURCE.replace("a.txt", "a.txt, pattern: '('"), r"\(a\): pattern '\('"),
        (SOURCE.replace("a.txt", "a.txt, encoding: x"), r"\(a\): encoding 'x' is unknown"),
        (SOURCE.replace("a.txt", "a.txt, documents: word"), "documents: Input should be"),
        (SOURCE.replace("a.txt", "a.txt, replace: [['(', b]]"), r"replace '\('"),
        (SOURCE.replace("name: a", "name: ../a"), "one that can be a folder"),
        (SOURCE.replace("name: a", "name: news.2024"), "'news.2024'; expected one .* without dots"),
        (SOURCE.replace("{name", "{name: a, paths: b}, {name"), "two sources named 'a'"),
        (SOURCE + "filters: {min_hangul: 30}", "min_hangul 30.0; expected a share"),
        (SOURCE + "filters: {hangul: 0.3}", "unknown option 'filters.hangul'; known: min_char"),
        (SOURCE + "dedup: {buckets: 0}", "dedup.buckets 0; expected 1 or more"),
        (SOURCE + "executor: {kind: slurm}", "expected the partition"),
        (SOURCE + "validation: many", "validation: Input should be a valid number"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as refused:
        load(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "recipe.yaml"))


def test_the_page_shows_every_setting_and_its_default(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", "/data")
    page = (Path(__file__).resolve().parents[2] / "docs" / "corpus.md").read_text()
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    config, content = load(tmp_path, shown), yaml.safe_load(shown)
    default = CorpusConfig(output=config.output, sources=config.sources)
    assert config == default
    assert content.keys() == vars(default).keys()
    for section in ("cleaning", "filters", "dedup"):
        assert content[section].keys() == vars(getattr(default, section)).keys()
    for name in vars(default.executor):
        assert f"`{name}`" in page or f"executor.{name}`" in page or name in content["executor"]
