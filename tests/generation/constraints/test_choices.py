"""One text of each part in turn and nothing else; the guess is one of them."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5 import ByteTokenizer
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.constraints import Choices
from kebyt5.generation.constraints.constraint import MAX_GUESS

EOS = 1
LABELS = ["가", "각", "", "나라", "가나", "😀", "😀😁", "per:date_of_birth", "한국", "한국"]


def words(constraint, state=None, before=()):
    """All id sequences that the constraint admits."""
    state = constraint.start() if state is None else state
    allowed = np.flatnonzero(constraint.allowed(state)).tolist()
    if not allowed:
        yield list(before)
    for byte_id in allowed:
        yield from words(constraint, constraint.advance(state, byte_id), (*before, byte_id))


def ids(text):
    return ByteTokenizer()(text).input_ids


def follow(constraint, text):
    state = constraint.start()
    for byte_id in ids(text)[:-1]:
        state = constraint.advance(state, byte_id)
    return state


@given(st.lists(st.text(max_size=4), min_size=1, max_size=8))
def test_of_one_part_the_texts_are_what_is_admitted(labels):
    # Also such as begin one another, the empty one, and such that differ inside a character.
    assert sorted(words(Choices([labels]))) == sorted(ids(label) for label in set(labels))


ENDED = st.text("가각나😀", max_size=2).map(lambda text: text + ";")
PART = st.lists(ENDED, min_size=1, max_size=3) | st.just([""])


@given(st.lists(PART, max_size=3), st.lists(st.text(max_size=2), min_size=1, max_size=3))
def test_of_several_parts_all_combinations_are_admitted(parts, last):
    texts = {""}
    for part in [*parts, last]:
        texts = {before + text for before in texts for text in part}
    assert sorted(words(Choices([*parts, last]))) == sorted(map(ids, texts))


@given(st.lists(PART, max_size=3), st.lists(st.text(max_size=2), min_size=1), st.data())
def test_what_is_likely_is_admitted_from_every_state(parts, last, data):
    parts = [*parts, last]
    guess = [data.draw(st.sampled_from(part)) for part in parts]
    constraint = Choices(parts, guess)
    assert list(constraint.likely(constraint.start())) == ids("".join(guess))
    state = constraint.start()
    while True:
        ahead = state
        for byte_id in constraint.likely(state):
            assert constraint.allowed(ahead)[byte_id]
            ahead = constraint.advance(ahead, byte_id)
        allowed = np.flatnonzero(constraint.allowed(state)).tolist()
        byte_id = data.draw(st.sampled_from(allowed))
        if byte_id == EOS:
            break
        state = constraint.advance(state, byte_id)


def test_where_the_guess_was_wrong_the_first_text_like_it_is_likely():
    constraint = Choices([["1, ", "2, ", "12, "], ["NP)", "VP)", "VNP)"]], ["2, ", "NP)"])
    assert list(constraint.likely(constraint.start())) == ids("2, NP)")
    assert list(constraint.likely(follow(constraint, "1"))) == ids(", NP)")
    assert list(constraint.likely(follow(constraint, "12, V"))) == ids("P)")


def test_refuses_what_is_no_choice():
    for arguments, reason in (
        (([],), "at least one part"),
        (([["가"], []],), "at least one text"),
        (([["가", "가나"], ["다"]],), "begins another"),
        (([["", "가"], ["다"]],), "begins another"),
        (([["가"], ["다"]], ["가"]), "1 guesses for 2 parts"),
        (([["가"], ["다"]], ["가", "라"]), "'라' is not a text of its part"),
    ):
        with pytest.raises(ValueError, match=reason):
            Choices(*arguments)
    for texts in ("가나", ["긍정", "부정"]):
        with pytest.raises(ValueError, match="a list of texts"):
            Choices(texts)
    with pytest.raises(ValueError, match="at least one"):
        Choices([[]])
    constraint = Choices([["가"]])
    with pytest.raises(KeyError):
        constraint.advance(constraint.start(), 5)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_generated_texts_are_labels(tiny_model, num_beams):
    inputs = ["하나", "둘", "", "셋" * 9]
    limits = [20] * len(inputs)
    texts = generate_texts(tiny_model(), inputs, limits, 3, num_beams, "", Choices([LABELS])).texts
    assert set(texts) <= set(LABELS)


def test_parts_alike_take_memory_once():
    parts = [[f"{head}, " for head in range(300)], ["NP)", "VP)"]] * 300

    def taken(parts):
        tracemalloc.start()
        made = Choices(parts)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del made
        return size

    assert taken(parts) < 3 * taken(parts[:2])


def test_not_much_more_is_likely_than_a_draft_takes():
    constraint = Choices([["1, "], ["NP)", "VP)"]] * 1000)
    likely = list(constraint.likely(constraint.start()))
    assert MAX_GUESS <= len(likely) <= MAX_GUESS + len("1, ")
    assert likely == ids("1, NP)" * 1000)[: len(likely)]
