"""Noise hits as much as asked, only what it may, and the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.evaluation.noise import add_noise, noisy_example
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
    for rate in (0.05, 0.3):
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


def test_fields_are_hit_apart_and_structure_survives():
    task = get_task("dp")
    words = "서울에\t서울 에\tNNP+JKB\n간다\t가 ㄴ다\tVV+EF"
    example = task.example(sentence="서울에 간다", words=words)
    for seed in range(50):
        noisy = noisy_example(example, 0.8, seed)
        assert task.input_text(noisy).count("\n") == task.input_text(example).count("\n")
    assert noisy_example(example, 0.8, 1) != noisy_example(example, 0.8, 2)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        add_noise("가", rate, 0)
