"""Cleaning only changes what is not part of the text, and is idempotent."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.cleaning import clean
from kebyt5.corpus.config import Cleaning

ALL, NONE = Cleaning(), Cleaning(nfc=False, blanks=False, repeated_lines=False)
lines = st.lists(st.sampled_from(["가", "가 ", " 나", "", "\t다\u3000라", "e\u0301", "\x00", "\r"]))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("하나\r\n둘\r셋\u2028넷", "하나\n둘\n셋\n넷"),
        ("\ufeff\x00가\x07나\x9f", "가나"),
        ("가\ud800나", "가\ufffd나"),
        ("가  나\t다\u3000라\xa0마 바", "가 나 다 라 마 바"),
        ("if x:\n    y = 1   \n", "if x:\n    y = 1"),
        ("가\n\n\n\n나\n \n다", "가\n\n나\n\n다"),
        ("공지\n공지\n\n공지\n본문\n공지", "공지\n\n본문\n공지"),
        ("한", "한"),
        ("\n\n", ""),
    ],
)
def test_examples(before, after):
    assert clean(before, ALL) == after


def test_options_leave_alone_what_they_are_for():
    nfd = unicodedata.normalize("NFD", "한  글\n한  글")
    assert clean(nfd, NONE) == nfd
    assert clean(nfd, Cleaning()) == "한 글"


@given(lines, st.sampled_from([ALL, NONE]))
def test_cleaning_twice_is_cleaning_once(parts, options):
    once = clean("\n".join(parts), options)
    assert clean(once, options) == once
    once.encode()


@given(st.text())
def test_words_stay(text):
    kept = clean(text, NONE)
    assert kept.split() == clean(kept, NONE).split()
    assert set(kept) <= set(text) | {"\n", "\ufffd"}
