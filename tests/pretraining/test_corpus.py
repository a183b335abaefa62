"""A run reads the corpus that its record describes."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.pretraining.corpus import recorded_weights


def test_a_corpus_records_the_weights_of_its_recipe(tmp_path):
    assert recorded_weights(tmp_path, ["law"]) == {}  # shards that no recipe made
    record = tmp_path / "corpus.json"
    record.write_text(json.dumps({"weights": {"law": 0.2, "film": 1, "empty": 3}}))
    assert recorded_weights(tmp_path, ["law", "film"]) == {"law": 0.2, "film": 1}
    for content in (
        "{", "{}", "[]", '{"splits": []}', '{"splits": {"train": {"film": {}}}}',
        '{"weights": {"law": null, "film": 1}}', '{"weights": {"law": 1}}',
    ):  # fmt: skip
        record.write_text(content)
        with pytest.raises(InputError, match=r"corpus.json: no record of a corpus"):
            recorded_weights(tmp_path, ["law", "film"])
