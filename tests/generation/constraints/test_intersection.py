"""Two constraints at once admit what both admit, whatever they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.generation import Engine, GenerationError, GenerationOptions
from kebyt5.generation.constraints import (
    UTF8,
    Choices,
    ConstraintError,
    CopyWithTags,
    Grammar,
)

EOS = 1
TEXTS = st.text("가각나a", max_size=3)


def admits(constraint, text):
    state = constraint.start()
    for byte_id in [byte + 3 for byte in text.encode()]:
        if not constraint.allowed(state)[byte_id]:
            return False
        state = constraint.advance(state, byte_id)
    return bool(constraint.allowed(state)[EOS])


def any_constraint(draw):
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return UTF8()
    if kind == 1:
        return Choices([draw(st.lists(TEXTS, min_size=1, max_size=5))])
    if kind == 2:
        return Choices([[f"{text};" for text in draw(st.sets(TEXTS, min_size=1))], ["가", "나"]])
    if kind == 3:
        return CopyWithTags(draw(TEXTS), ("가", "LC"))
    return Grammar.regex(draw(st.sampled_from(["[가-나]*", "가.*", "[^각]{0,2}", "(가|각|a)+"])))


@given(st.data())
def test_what_both_admit(data):
    first, second = any_constraint(data.draw), any_constraint(data.draw)
    both, again = first & second, second & first & UTF8()
    for text in [data.draw(TEXTS), data.draw(TEXTS) + ";가", f"<{data.draw(TEXTS)}:LC>"]:
        expected = admits(first, text) and admits(second, text)
        assert admits(both, text) == admits(again, text) == expected


def test_labels_and_a_pattern():
    both = Choices([["가1", "나2", "다3"]]) & Grammar.regex("[가-나][0-9]") & UTF8()
    assert admits(both, "가1")
    assert admits(both, "나2")
    assert not admits(both, "다3")


@pytest.mark.parametrize("pattern", ["x9|b!", "a9|b!"])
def test_a_dead_end_is_an_error_only_where_the_model_goes(tiny_model, pattern):
    # "a1" is likely; where the pattern has "a9" it ends behind the a.
    both = Choices([["a1", "b!"]]) & Grammar.regex(pattern)
    model = tiny_model()
    model.lm_head.weight.data.zero_()
    model.lm_head.weight.data[ord("a") + 3, 0] = 1e-3  # decides for or against a
    outcomes = set()
    for sign in (1, -1):
        model.lm_head.weight.data[ord("a") + 3, 0] *= sign
        for drafts in (False, True):
            options = GenerationOptions(constraint=both, drafts=drafts)
            try:
                outcomes.add((sign, Engine(model).generate(["가"], options)[0].text))
            except GenerationError as error:
                outcomes.add((sign, type(error.__cause__)))
    assert len(outcomes) == 2  # with and without drafts the same
    assert {text for _, text in outcomes} == (
        {"b!"} if pattern[0] == "x" else {"b!", ConstraintError}
    )


def test_masks_are_not_shared_with_what_was_combined():
    utf8 = UTF8()
    before = utf8.allowed(utf8.start()).copy()
    both = utf8 & Choices([["가"]])
    assert both.allowed(both.start()).sum() == 1
    assert np.array_equal(utf8.allowed(utf8.start()), before)
