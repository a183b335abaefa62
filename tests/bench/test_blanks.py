"""One blank of whole characters in each text, and how often a model finds what stood there."""

import re

import pytest

from kebyt5.bench import blanks
from kebyt5.bench.blanks import KINDS, Blank, fill_blanks, make_blanks
from kebyt5.generation.fill import Filling

TEXT = "어제 본 영화는 2시간이나 되었지만, 배우들이 좋아서 재미있었다."


def test_a_blank_is_of_the_kind_it_says_and_leaves_the_rest_alone():
    made = make_blanks([TEXT, "no Hangul", "<extra_id_0> 있는 글", *[TEXT] * 60])
    assert len(made) == 61
    for blank in made:
        assert blank.text.replace("<extra_id_0>", blank.answer) == TEXT
    answers = {kind: {each.answer for each in made if each.kind == kind} for kind in KINDS}
    assert all(len(answer) == 1 for answer in answers["one syllable"])
    assert all(re.fullmatch("[가-힣]{2}", answer) for answer in answers["two syllables"])
    assert answers["a word"] == {"어제", "영화는", "배우들이", "좋아서"}  # 되었지만 has a comma
    assert min(map(len, answers.values())) > 3  # from anywhere in the text


def test_every_pair_of_syllables_may_be_left_out():
    made = make_blanks(["가나다라"] * 90)
    assert {each.answer for each in made if each.kind == "two syllables"} == {
        "가나",
        "나다",
        "다라",
    }


def test_answers_are_counted_by_their_rank(monkeypatch, tiny_model):
    found = {"a": ["가", "나"], "b": ["나", "가"], "c": ["나", "다"], "d": []}

    def fill(model, text, **_):
        return [Filling((span,), "", 0.0) for span in found[text]]

    monkeypatch.setattr(blanks, "fill", fill)
    counted = fill_blanks(tiny_model(), [Blank("one syllable", text, "가") for text in found])
    assert vars(counted["one syllable"]) == {"blanks": 4, "first": 1, "among": 2}
    assert vars(counted["a word"]) == {"blanks": 0, "first": 0, "among": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_fills_what_it_is_asked(kind, tiny_model):
    made = [each for each in make_blanks([TEXT] * 3) if each.kind == kind]
    counted = fill_blanks(tiny_model().eval(), made)
    assert counted[kind].blanks == 1
    assert 0 <= counted[kind].first <= counted[kind].among <= 1
