"""Statistics of shards agree with counting characters one by one."""

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.corpus.statistics import SCRIPTS, Statistics, count_scripts

texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), min_size=1
)


def script(character):
    name = unicodedata.name(character, "")
    if character.isspace():
        return "blanks"
    for start, found in (("HANGUL", "Hangul"), ("CJK UNIFIED", "Han"), ("LATIN", "Latin")):
        if name.startswith(start):
            return found
    return "digits" if character in "0123456789" else "other"


def test_scripts():
    for text in ("한글 ㅋㅋ ABC é 漢字 123, 🙂\n끝", "１２ かな", "각"):
        counts = count_scripts(np.frombuffer(text.encode(), np.uint8))
        expected = [sum(script(c) == name for c in text) for name in SCRIPTS]
        assert counts.tolist() == expected


def test_chunks_end_between_characters(monkeypatch):
    data = np.frombuffer(("한" * 50 + "🙂" * 50).encode(), np.uint8)
    whole = count_scripts(data)
    for size in range(1, 9):
        monkeypatch.setattr("kebyt5.corpus.statistics._CHUNK", size)
        assert count_scripts(data).tolist() == whole.tolist()


@given(texts, st.integers(1, 100))
def test_shards_add_up(tmp_path_factory, documents, max_bytes):
    folder = tmp_path_factory.mktemp("shards") / "a"
    with ShardWriter(folder, "0", max_bytes) as writer:
        for text in documents:
            writer.write(text)
    total = sum(map(Statistics.of, Shards(folder)), Statistics())
    sizes = [len(text.encode()) for text in documents]
    assert total.documents == len(documents)
    assert total.bytes == sum(sizes)
    assert total.scripts.sum() == sum(map(len, documents))
    assert [count for count in total.lengths if count] == [
        sum(size.bit_length() - 1 == number for size in sizes)
        for number in sorted({size.bit_length() - 1 for size in sizes})
    ]
    assert Statistics.from_json(total.to_json()).to_json() == total.to_json()


def test_shares_leave_blanks_out():
    statistics = Statistics(scripts=np.array([6, 2, 1, 0, 1, 90]))
    assert statistics.script_shares == {
        "Hangul": 0.6, "Latin": 0.2, "digits": 0.1, "Han": 0.0, "other": 0.1,
    }  # fmt: skip
