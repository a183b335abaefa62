"""Recipes and corpora for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kebyt5.corpus.build import build_corpus
from kebyt5.corpus.config import CorpusConfig, load_config

Build = Callable[..., Path]


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., CorpusConfig]:
    """Makes a recipe, by default of the text files in the folder of the test."""

    def make(output: str = "corpus", **changes: Any) -> CorpusConfig:
        content = {
            "output": str(tmp_path / output),
            "sources": [{"name": "texts", "paths": str(tmp_path / "*.txt")}],
            "validation": 0.1,
            "executor": {"workers": 1},
        } | changes
        path = tmp_path / f"{output}.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return load_config(path)

    return make


@pytest.fixture
def build(recipe: Callable[..., CorpusConfig]) -> Build:
    """Builds a corpus from such a recipe and returns its folder."""

    def run(output: str = "corpus", **changes: Any) -> Path:
        config = recipe(output, **changes)
        assert build_corpus(config)
        return config.output

    return run
