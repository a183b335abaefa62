"""Texts come in whole characters and are, all in all, what the tokenizer decodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5 import ByteTokenizer
from kebyt5.generation.request import GenerationOptions, TextStream

IDS = st.one_of(
    st.lists(st.integers(0, 383), max_size=30),
    st.text("가😀é<a", max_size=12).map(lambda text: [b + 3 for b in text.encode()]),
)


@given(
    IDS,
    st.lists(st.integers(1, 4), min_size=1, max_size=40),
    st.sampled_from(["huggingface", "pretraining"]),
)
def test_pieces_make_up_the_decoded_text(ids, sizes, sentinels):
    stream = TextStream(sentinels)
    pieces, rest = [], list(ids)
    while rest:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream.feed(rest[:size]))
        rest = rest[size:]
    pieces.append(stream.close(cut=False))
    expected = ByteTokenizer().decode(ids, skip_special_tokens=True, sentinels=sentinels)
    assert "".join(pieces) == stream.text == expected


@given(st.text("가😀é<a", min_size=1, max_size=12), st.integers(1, 3))
def test_a_cut_leaves_no_half_character(text, cut):
    stream = TextStream()
    data = text.encode()[:-cut]
    stream.feed([byte + 3 for byte in data])
    stream.close(cut=True)
    assert stream.text == data.decode("utf-8", "ignore")


@given(
    st.text("abc가", max_size=20),
    st.lists(st.text("abc가", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(1, 12), min_size=1, max_size=20),
)
def test_the_text_ends_before_the_stop_text_that_is_complete_first(text, stop, sizes):
    stream = TextStream(stop=tuple(stop))
    rest, turn = [byte + 3 for byte in text.encode()], 0
    while rest and not stream.stopped:
        size = sizes[turn % len(sizes)]
        stream.feed(rest[:size])
        rest, turn = rest[size:], turn + 1
    stream.close(cut=False)
    ends = (end for end in range(len(text) + 1) if text[:end].endswith(tuple(stop)))
    end = next(ends, None)
    assert stream.stopped == (end is not None)
    if end is None:
        assert stream.text == text
    else:
        longest = max(len(word) for word in stop if text[:end].endswith(word))
        assert stream.text == text[: end - longest]


@pytest.mark.parametrize(
    "bad",
    [
        {"max_new_bytes": 0},
        {"max_new_bytes": 2.5},
        {"seed": 1.5},
        {"stop": None},
        {"stop": (b"a",)},
        {"constraint": "a"},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"seed": -1},
        {"stop": ("",)},
        {"deadline": -1.0},
        {"deadline": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GenerationOptions(**bad)
