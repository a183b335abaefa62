"""Wrong answers are ranked by how wrong they are, and compared with the target."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.reporting.mistakes import ADDED, MISSING, MOST, SAME, Piece, compare, worst_mistakes
from kebyt5.reporting.results import read_runs
from kebyt5.tasks import Example
from kebyt5.tasks.squad import Answers

TEXT = st.text(alphabet="가나다 <:>\n", max_size=30)


@given(TEXT, TEXT)
def test_pieces_make_up_both_texts(target, text):
    pieces = compare(target, text)
    assert "".join(piece.text for piece in pieces if piece.kind != ADDED) == target
    assert "".join(piece.text for piece in pieces if piece.kind != MISSING) == text
    assert all(piece.text for piece in pieces)
    kinds = [piece.kind for piece in pieces]
    assert all(one != other for one, other in pairwise(kinds))


def test_equal_texts_are_one_piece():
    assert compare("서울에 간다", "서울에 간다") == [Piece(SAME, "서울에 간다")]
    assert compare("", "") == []


def test_what_is_equal_by_chance_between_two_changes_is_part_of_them():
    assert compare("나라 밖 다리", "바다 밖 소리")[0] == Piece(MISSING, "나라")
    pieces = compare("그는 <서울:LC>에 산다", "그는 <서울:OG>에 산다")
    assert pieces == [
        Piece(SAME, "그는 <서울:"),
        Piece(MISSING, "LC"),
        Piece(ADDED, "OG"),
        Piece(SAME, ">에 산다"),
    ]


@pytest.fixture
def mistakes(write_result, tmp_path):
    """The worst mistakes of a result made of examples and texts."""

    def find(name, examples, texts, likelihoods=None):
        write_result(tmp_path / "run", name, examples, texts)
        if likelihoods:
            path = tmp_path / "run" / "predictions.jsonl"
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            both = zip(lines, likelihoods, strict=True)
            path.write_text("\n".join(json.dumps(x | {"log_likelihoods": y}) for x, y in both))
        (result,) = read_runs([tmp_path / "run"]).results
        return worst_mistakes(result)

    return find


def test_free_text_is_ranked_by_similarity(mistakes):
    examples = [Example(str(i), {"text": "아무"}, "하늘이 맑다") for i in range(4)]
    found = mistakes("seq2seq", examples, ["하늘이 맑다", "하늘이 맑네", "바닷가", "하늘 맑다"])
    assert [mistake.id for mistake in found.worst] == ["2", "1", "3"]
    assert found.count == 3
    assert found.worst[0].badness == 1
    assert found.worst[2].pieces[1] == Piece(MISSING, "이")


def test_only_the_worst_are_shown_and_all_are_counted(mistakes):
    examples = [Example(str(i), {"text": "아무"}, "하늘") for i in range(MOST + 5)]
    found = mistakes("seq2seq", examples, ["바다"] * (MOST + 5))
    assert [mistake.id for mistake in found.worst] == [str(i) for i in range(MOST)]
    assert found.count == MOST + 5


def test_numbers_are_ranked_by_distance(mistakes):
    inputs = {"sentence1": "가", "sentence2": "나"}
    examples = [Example(str(i), inputs, gold) for i, gold in enumerate((1.0, 5.0, 2.0))]
    found = mistakes("sts", examples, ["1.1", "0.0", "2.0"])
    assert [mistake.id for mistake in found.worst] == ["1", "0"]
    assert found.worst[0].badness == 5
    assert found.worst[0].pieces == [Piece(MISSING, "5.0"), Piece(ADDED, "0.0")]


def test_labels_are_ranked_by_likelihood_where_it_is_known(mistakes, headlines):
    texts = ["경제", "사회", "사회"]
    found = mistakes("ynat", headlines, texts)
    assert [mistake.id for mistake in found.worst] == ["e0", "e1"]
    likelihoods = [{"경제": -1, "사회": -1.5}, {"경제": -4, "사회": -1}, {"경제": -9, "사회": 0}]
    found = mistakes("ynat", headlines, texts, likelihoods=likelihoods)
    assert [(mistake.id, mistake.badness) for mistake in found.worst] == [("e1", 3), ("e0", 0.5)]


def test_an_answer_is_wrong_by_what_it_says_not_by_how(mistakes):
    example = Example("1", {"question": "누구?", "context": "세종"}, Answers(("세종",)))
    assert mistakes("mrc", [example], ["출력: 세종\n정답임."]).count == 0
    assert mistakes("mrc", [example], ["출력: 문종\n정답임"]).count == 1
