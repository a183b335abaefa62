"""One blank of whole characters in each text, and how often a model fills it correctly."""

import re

from kebyt5.bench import blanks
from kebyt5.bench.blanks import KINDS, Blank, Filled, fill_blanks, make_blanks
from kebyt5.bench.pretrained_report import blanks_table
from kebyt5.generation import Engine
from kebyt5.generation.fill import Filling, fill

TEXT = "어제 본 영화는 2시간이나 되었지만, 배우들이 좋아서 재미있었다."


def test_a_blank_is_of_the_kind_it_says_and_leaves_the_rest_alone():
    made = make_blanks([TEXT, "no Hangul", "<extra_id_0> 있는 글", *[TEXT] * 60])
    assert len(made) == 61
    for blank in made:
        assert blank.text.replace("<extra_id_0>", blank.answer) == TEXT
    answers = {kind: {each.answer for each in made if each.kind == kind} for kind in KINDS}
    assert all(len(answer) == 1 for answer in answers["one syllable"])
    assert all(re.fullmatch("[가-힣]{2}", answer) for answer in answers["two syllables"])
    assert answers["a word"] == {"영화는", "배우들이", "좋아서"}  # 되었지만 has a comma
    assert min(map(len, answers.values())) > 2  # from anywhere in the text


def test_every_pair_of_syllables_may_be_left_out():
    made = make_blanks(["가나다라"] * 90)
    assert {each.answer for each in made if each.kind == "two syllables"} == {
        "가나",
        "나다",
        "다라",
    }


def test_answers_are_counted_by_their_rank(monkeypatch, tiny_model):
    found = {"a": ["가", "나"], "b": ["나", "가"], "c": ["나", "다"], "d": []}

    def fake(engine, text, **_):
        return [Filling((span,), "", 0.0) for span in found[text]]

    monkeypatch.setattr(blanks, "fill", fake)
    counted = fill_blanks(tiny_model(), [Blank("one syllable", text, "가") for text in found])
    assert vars(counted["one syllable"]) == {"blanks": 4, "top1": 1, "top5": 2}
    assert vars(counted["a word"]) == {"blanks": 0, "top1": 0, "top5": 0}


def test_a_blank_is_filled_as_the_command_does(tiny_model):
    model = tiny_model().eval()
    text = "어제 본 <extra_id_0> 재미있었다."
    spans = [each.spans[0] for each in fill(Engine(model), text)]
    made = [Blank("a word", text, answer) for answer in (spans[0], spans[1], "영화는")]
    assert vars(fill_blanks(model, made)["a word"]) == {"blanks": 3, "top1": 1, "top5": 2}


def test_the_table_tells_the_likeliest_from_the_five_likeliest():
    found = {kind: Filled(8, 1, 2) for kind in KINDS} | {"a word": Filled()}
    head, _, *rows = blanks_table({"tiny": found})
    assert head == "| blank | texts | tiny, top 1 | top 5 |"
    assert rows[0] == "| one syllable | 8 | 12.5 % | 25.0 % |"
    assert rows[2] == "| a word | 0 |  |  |"
