"""Results record what they were made with."""

import pytest

from kebyt5.provenance import provenance


def test_results_say_what_they_were_made_with():
    made = provenance()
    assert made["command"].startswith("kebyt5")
    assert made["versions"].keys() >= {"kebyt5", "torch", "transformers"}
    assert made["machine"]["cores"] >= 1
    assert len(made["date"]) == len("2026-01-01T00:00:00+00:00")


def test_the_commit_is_that_of_the_beginning(monkeypatch):
    began = provenance()["commit"]
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("looked up again"))
    assert provenance()["commit"] == began
