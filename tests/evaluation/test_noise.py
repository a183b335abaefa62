"""Noise damages the given share, only Hangul and blanks, and reproducibly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.evaluation.noise import add_noise
from kebyt5.tasks import get_task

HANGUL = st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)


@given(st.text(st.one_of(HANGUL, st.characters())), st.floats(0, 1), st.integers())
def test_all_but_syllables_and_blanks_stays_in_its_order(text, rate, seed):
    noisy = add_noise(text, rate, seed)
    assert noisy == add_noise(text, rate, seed)

    def rest(text):
        return [c for c in text if not ("가" <= c <= "힣" or c in " \ufffd")]

    assert rest(noisy) == rest(text)


@given(st.text())
def test_no_noise_at_rate_zero(text):
    assert add_noise(text, 0, 0) == text


def test_the_rate_is_the_share_of_characters_hit():
    text = "가" * 20_000
    for rate in (0.2, 0.5):
        noisy = add_noise(text, rate, 0)
        # Of three kinds of hits only one adds a blank.
        assert noisy.count(" ") == pytest.approx(20_000 * rate / 3, rel=0.1)
        assert noisy.count("\ufffd") >= 20_000 * rate / 3 * 0.9
        assert noisy.count("가") == pytest.approx(20_000 * (1 - rate * 2 / 3), rel=0.01)
    assert add_noise(" " * 100, 1, 0) == ""


def test_a_typo_is_one_neighbour_on_the_keyboard_away():
    typos = {add_noise("각", 1, seed) for seed in range(300)}
    typos = {typo for typo in typos if len(typo) == 1 and typo != "\ufffd"}
    assert typos == {"닥", "삭", "걱", "긱", "갇", "갓"}


@given(st.text(HANGUL, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_what_a_low_rate_hits_a_higher_one_hits_too(text, one, other):
    low, high = sorted((one, other))
    # One syllable at a time, as hits change lengths.
    for syllable in text:
        if add_noise(syllable, low, 0) != syllable:
            assert add_noise(syllable, high, 0) == add_noise(syllable, low, 0)


def test_structure_survives():
    def noise(text):
        return add_noise(text, 0.8, 0)

    dp = get_task("dp")
    words = "서울에\t서울 에\tNNP+JKB\n간다\t가 ㄴ다\tVV+EF"
    damaged = dp.damage(dp.example(sentence="서울에 간다", words=words), noise)
    rows = [row.split("\t") for row in damaged.inputs["words"].split("\n")]
    assert [row[1:] for row in rows] == [["서울 에", "NNP+JKB"], ["가 ㄴ다", "VV+EF"]]
    assert damaged.inputs["sentence"] == " ".join(row[0] for row in rows) != "서울에 간다"

    wos = get_task("wos")
    dialogue = "사용자: 안녕하세요\n시스템: 무엇을 도와드릴까요"
    turns = wos.damage(wos.example(dialogue=dialogue), noise).inputs["dialogue"].split("\n")
    assert [turn[:5] for turn in turns] == ["사용자: ", "시스템: "]
    assert "\n".join(turns) != dialogue


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        add_noise("가", rate, 0)
