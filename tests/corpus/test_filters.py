"""A document is dropped for one reason, which is counted."""

import gzip
import json

import pytest
from datatrove.data import Document

from kebyt5.corpus.config import Filters
from kebyt5.corpus.filters import Keep
from kebyt5.corpus.statistics import hangul_share
from kebyt5.corpus.tally import Rejects, Tally, read_tallies

SENTENCE = "강물이 천천히 흘러간다."


def verdict(text, metadata=None, **options):
    document = Document(text, "a:1", metadata=metadata or {})
    return Keep(Filters(**options), None).filter(document)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("짧은 글", "under 10 characters"),
        ("This is not a Korean sentence.", "under 30% Hangul"),
        ("첫째 줄\n" * 3 + "둘째 줄\n" + "첫째 줄\n" * 3, "over 50% repeated lines"),
        ("0123456789" * 3 + "글", "under 30% Hangul"),
    ],
)
def test_reasons(text, reason):
    assert verdict(text) == (False, reason)


def test_limits_are_options():
    assert verdict(SENTENCE) is True
    assert verdict(SENTENCE, max_characters=5) == (False, "over 5 characters")
    assert verdict("글", min_characters=1) is True
    assert verdict("no Hangul at all", min_hangul=0) is True


def test_defects_of_readers_come_first():
    assert verdict("", {"defect": "not JSON"}) == (False, "not JSON")


def test_jamo_are_hangul_and_blanks_do_not_count():
    assert hangul_share("ㅋㅋ 한\u1112\u1161\u11ab 글\n") == 1
    assert hangul_share("한글 ab") == 0.5
    assert hangul_share("") == 0


def test_rejects_are_counted_by_source_and_written_where_asked(tmp_path):
    def documents():
        for number, text in enumerate(["짧다", SENTENCE, "English only, sorry", "또 짧다"]):
            yield Document(text, f"a:{number}", metadata={"source": "ab"[number // 3]})

    rejects = Rejects(tmp_path / "counts", texts=tmp_path / "texts")
    kept = list(Keep(Filters(), rejects).run(documents(), rank=3))
    assert [document.text for document in kept] == [SENTENCE]
    assert read_tallies(tmp_path / "counts") == {
        "a": {"under 10 characters": [1, 6], "under 30% Hangul": [1, 19]},
        "b": {"under 10 characters": [1, 10]},
    }
    with gzip.open(tmp_path / "texts" / "00003.jsonl.gz", "rt") as file:
        written = [json.loads(line) for line in file]
    assert [(line["id"], line["metadata"]["filter_reason"]) for line in written] == [
        ("a:0", "under 10 characters"),
        ("a:2", "under 30% Hangul"),
        ("a:3", "under 10 characters"),
    ]


def test_tallies_of_all_tasks_add_up(tmp_path):
    tally = Tally(tmp_path)
    for rank in (0, 1, 0):
        tally.count(Document("글", "a:1", metadata={"source": "a"}), "read")
        tally.write(rank)
    assert read_tallies(tmp_path) == {"a": {"read": [2, 6]}}
