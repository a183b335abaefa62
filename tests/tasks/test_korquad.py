import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.tasks.korquad import KorQuAD
from kebyt5.tasks.squad import Answers
from kebyt5.tasks.task import Example

korquad = KorQuAD()


def ask(*answers: str, context: str = "보라는 제주에 산다.") -> Example:
    return Example("q", {"question": "어디에?", "context": context}, Answers(answers))


def test_texts_are_the_published_ones() -> None:
    assert korquad.input_text(ask("제주")) == (
        "task: MRC\n\nquestion: 어디에?\n\ncontext: 보라는 제주에 산다.\n"
    )
    assert korquad.target_text(ask("제주", "제주도")) == "제주"


@given(st.text(st.characters()))
def test_any_text_is_its_answer(text: str) -> None:
    parsed = korquad.parse(text, ask("제주"))
    assert parsed == (text, None if text.strip() else "empty")
    assert korquad.to_json(parsed, ask("제주")) == text


def test_the_score_is_the_best_over_the_gold_answers() -> None:
    # Of 제주도 the first has 2 of 3 characters, the second both of its own.
    result = korquad.score(
        [ask("서울", "제주"), ask("제주"), ask("제주")], ["제주도", "‘제주’", " "]
    )
    assert result == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 * (0.8 + 1 + 0) / 3),
        "unparsed": 1,
    }
    with pytest.raises(ValueError, match="no gold for the question"):
        korquad.score([korquad.example(question="어디에?", context="")], [""])


def test_windows_keep_the_question() -> None:
    example = ask("제주", context="가나다라" * 30)
    limit = byte_length(korquad.input_text(ask("제주", context=""))) + 100
    fitted = korquad.fit(example, limit, 60)
    assert len(fitted) == 6
    assert all(byte_length(korquad.input_text(part)) <= limit for part in fitted)
    assert {part.inputs["question"] for part in fitted} == {"어디에?"}
    # There is nothing to learn from a window that does not show the answer.
    assert {part.gold for part in fitted} == {None}


def write(folder: Path, answers: list[dict[str, object]]) -> Path:
    qas = [{"id": "6-0-0", "question": "어디에?", "answers": answers}]
    paragraphs = [{"context": "보라는 제주에 산다.", "qas": qas}]
    data = {"version": "KorQuAD_v1.0_dev", "data": [{"title": "보라", "paragraphs": paragraphs}]}
    path = folder / "korquad.json"
    path.write_text("\ufeff" + json.dumps(data), encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, [{"text": "제주", "answer_start": 4}])
    assert korquad.read(path) == [
        Example(
            "6-0-0",
            {"question": "어디에?", "context": "보라는 제주에 산다."},
            Answers(("제주",)),
            f"{path}:1",
        )
    ]


@pytest.mark.parametrize("answers", [[], [{"answer_start": 4}]])
def test_a_question_without_an_answer_is_refused(
    tmp_path: Path, answers: list[dict[str, object]]
) -> None:
    path = write(tmp_path, answers)
    with pytest.raises(InputError, match=r"qas\[0\]: question 6-0-0 has no answer; expected"):
        korquad.read(path)


def test_questions_without_an_answer_belong_to_another_task(tmp_path: Path) -> None:
    path = write(tmp_path, [{"text": "제주", "answer_start": 4}])
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    content["data"][0]["paragraphs"][0]["qas"][0] |= {"answers": [], "is_impossible": True}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"korquad\.json:1: .* expected the task mrc"):
        korquad.read(path)
