"""`kebyt5 corpus` end to end, with the recipe that the repository ships."""

import sys
from functools import partial
from pathlib import Path

import pytest

from kebyt5.corpus.shards import Shards

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(run, monkeypatch):
    """Runs the command in the repository."""
    monkeypatch.chdir(ROOT)
    return partial(run, "corpus")


def test_the_example_is_built_and_counted(run, tmp_path):
    corpus = tmp_path / "corpus"
    example = "scripts/corpus/example.yaml"
    code, out, error = run("build", example, "--output", corpus, "--workers", 1)
    assert code == 0, error
    assert f"Written to {corpus}" in out
    assert "report" in error
    shards = Shards(corpus / "train")
    assert list(shards.sources) == ["readme", "sentences"]
    texts = [text for shard in shards.sources["sentences"] for text in shard]
    assert len(texts) > 3000
    assert not any(":LC>" in text for text in texts)

    code, counted, error = run("stats", corpus, "--output", tmp_path / "report")
    assert code == 0, error
    assert counted.startswith(out.partition("Written")[0])
    assert (tmp_path / "report" / "report.html").exists()

    code, _, error = run("stats", corpus, "--output", tmp_path / "report")
    assert code == 2  # whatever is there stays
    assert "not empty" in error
    code, _, error = run("stats", corpus, "--output", corpus / "corpus.json")
    assert code == 2
    assert "corpus.json: cannot be used as an output folder" in error


def test_mistakes_are_one_line(run, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("output: a\nsources: [{name: a, paths: a.txt, sise: 3}]")
    for arguments, part in (
        (("build", recipe), "unknown option 'sise'"),
        (("build", tmp_path / "none.yaml"), "No such file"),
        (("build", recipe, "--executor", "clowd"), "clowd"),
        (("stats", tmp_path), "no corpus.json"),
    ):
        code, _, error = run(*arguments)
        assert code == 2
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert part in error


def test_without_the_extra_it_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "datatrove", None)
    code, _, error = run("stats", "nowhere")
    assert code == 2
    assert "pip install 'kebyt5[corpus]'" in error


def test_help_shows_examples(run):
    for command in ("build", "stats"):
        code, out, _ = run(command, "--help")
        assert code == 0
        assert f"kebyt5 corpus {command}" in out
