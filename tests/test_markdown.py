"""Markdown shows texts verbatim, whatever characters they contain."""

import pytest

from kebyt5.markdown import code, fence, plain, row


def test_marks_of_markdown_are_escaped_and_lines_joined():
    assert plain("a_b <서울:LC> | *c*\n[d]") == r"a\_b \<서울:LC\> \| \*c\* \[d\]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"`a\|b`"),
        ("a`b", "``a`b``"),
        ("`a`", "`` `a` ``"),
        ("two\nlines", "`two lines`"),
    ],
)
def test_code_is_fenced_by_more_backticks_than_it_has(text, expected):
    assert code(text) == expected


def test_a_block_keeps_its_lines_and_ends_where_it_should():
    assert fence("a\n```\nb") == "````text\na\n```\nb\n````"


def test_rows():
    assert row(["a", 1]) == "| a | 1 |"
