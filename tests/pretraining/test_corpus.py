"""A run reads the corpus that its manifest describes."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.pretraining.corpus import read_manifest, weights_of


def test_a_manifest_has_the_weights_of_the_recipe(tmp_path):
    path = tmp_path / "corpus.json"
    path.write_text(json.dumps({"weights": {"law": 0.2, "film": 1, "empty": 3}}))
    weights = weights_of(read_manifest(path), path, ["law", "film"])
    assert weights == {"law": 0.2, "film": 1}
    for content in (
        "{", "{}", "[]", '{"splits": []}', '{"splits": {"train": {"film": {}}}}',
        '{"weights": {"law": null, "film": 1}}', '{"weights": {"law": 1}}',
    ):  # fmt: skip
        path.write_text(content)
        with pytest.raises(InputError, match=r"corpus.json: no manifest of a corpus"):
            weights_of(read_manifest(path), path, ["law", "film"])
