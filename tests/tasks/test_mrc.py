import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import example as explicit
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.tasks.mrc import MRC, UNKNOWN
from kebyt5.tasks.squad import Answers
from kebyt5.tasks.task import Example

mrc = MRC()

CONTEXT = "보라는 제주에서\n귤 300개를 땄다."


def ask(*answers: str, plausible: tuple[str, ...] = (), context: str = CONTEXT) -> Example:
    inputs = {"question": "몇 개?", "context": context}
    return Example("q", inputs, Answers(answers, plausible))


# --- texts ---------------------------------------------------------------------------------------


def test_texts_are_the_published_ones() -> None:
    assert mrc.input_text(ask("300개")) == (
        "task: MRC, 지문을 읽고 질문에 답을 할 수 없다면 '[알 수 없음]'을 출력한다.\n\n"
        "### 질문\n몇 개?\n\n### 지문\n보라는 제주에서\n귤 300개를 땄다.\n"
    )
    assert mrc.target_text(ask("300개", "귤 300개")) == "출력: 300개\n정답임"
    assert mrc.target_text(ask(UNKNOWN)) == "출력: [알 수 없음]\n정답임"


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("출력: 300개\n정답임", "300개", None),
        ("출력: 30개\n정답이 아님, 새 정답: 300개", "300개", None),
        (f"출력: {UNKNOWN}\n정답이 아님, 새 정답: 300개", "300개", None),
        (f"출력: 300개\n정답이 아님, 새 정답: {UNKNOWN}", UNKNOWN, None),
        ("출력: 1\n정답이 아님, 새 정답: 2\n정답이 아님, 새 정답: 3", "3", None),
        # Line two decides, whatever follows it.
        ("출력: 300개\n정답임\n정답이 아님, 새 정답: 30개", "300개", None),
        ("출력: 300개\n정답임\n정답임", "300개", None),
        ("출력: 가, 새 정답: 나\n정답임", "가, 새 정답: 나", None),
        # Line breaks in an answer.
        ("출력: 제주에서\n귤\n정답임", "제주에서\n귤", None),
        ("출력: 귤\n정답이 아님, 새 정답: 제주에서\n귤", "제주에서\n귤", None),
        ("출력: 귤\n정답이 아님, 새 정답: 300개\n정답임", "300개", None),
        # Malformed.
        ("출력: 300개", "300개", "no verdict"),
        ("출력: 300개\n정답이 아님, 새", "300개", "no verdict"),
        ("출력: 30개, 새 정답: 300개", "300개", "no '정답이 아님'"),
        ("300개\n정답임", "300개", "no '출력: '"),
        ("300개", "300개", "no '출력: '"),
        (" \n", "", "empty"),
        ("", "", "empty"),
    ],
)
def test_the_text_settles_on_an_answer(text: str, value: str, reason: str | None) -> None:
    assert mrc.parse(text, ask("300개")) == (value, reason)


PIECES = st.sampled_from(
    ["가", " ", "\n", "출력: ", "정답임", "정답이 아님", ", 새 정답: ", "\n정답임", UNKNOWN]
)
ANYTHING = st.text(st.characters()) | st.lists(PIECES).map("".join)


@given(ANYTHING)
@explicit("가\n정답이 아님, 새 정답: 나")
@explicit("가\n정답임")
def test_any_target_reads_back_as_its_answer_in_the_context(answer: str) -> None:
    example = ask(answer, context=f"앞 {answer} 뒤")
    assert mrc.parse(mrc.target_text(example), example) == (answer, None)


@given(ANYTHING)
def test_any_text_is_read(text: str) -> None:
    parsed = mrc.parse(text, ask("300개"))
    assert json.dumps(mrc.to_json(parsed, ask("300개")))
    assert mrc.show(parsed, ask("300개")) == parsed.value


@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_real_target_reads_back_as_its_gold(klue_data: Path, split: str) -> None:
    examples = mrc.read(klue_data / f"klue/klue-mrc-v1.1/klue-mrc-v1.1_{split}.json")
    targets = [mrc.target_text(example) for example in examples]
    for example, target in zip(examples, targets, strict=True):
        assert mrc.parse(target, example) == (example.gold.texts[0], None)
        assert byte_length(target) <= mrc.max_target_bytes(example)
        for seed in range(20):
            _, trained = mrc.training_pair(example, seed)
            assert mrc.parse(trained, example) == (example.gold.texts[0], None)
    assert mrc.score(examples, targets) == {"exact_match": 100, "rouge_w": 100, "unparsed": 0}


# --- training pairs ------------------------------------------------------------------------------

DRAWS = 4000


def wrong_answers(example: Example) -> list[str]:
    """The first answers of the targets that correct themselves, over many seeds."""
    pairs = [mrc.training_pair(example, seed) for seed in range(DRAWS)]
    assert pairs == [mrc.training_pair(example, seed) for seed in range(DRAWS)]
    assert {source for source, _ in pairs} == {mrc.input_text(example)}
    found = []
    for _, target in pairs:
        if target != mrc.target_text(example):
            first, middle, last = target.partition("\n정답이 아님, 새 정답: ")
            assert middle
            assert last == example.gold.texts[0]
            found.append(first.removeprefix("출력: "))
    return found


@pytest.mark.parametrize(("answers", "share"), [(("제주", "제주도"), 0.03), (("300개",), 0.10)])
def test_a_share_of_the_answers_is_corrected(answers: tuple[str, ...], share: float) -> None:
    wrong = wrong_answers(ask(*answers))
    unknown = wrong.count(UNKNOWN)
    corrupted = [text for text in wrong if text != UNKNOWN]
    assert unknown / DRAWS == pytest.approx(0.20, abs=0.02)
    assert len(corrupted) / DRAWS == pytest.approx(share, abs=0.015)
    assert not {"", *answers} & set(corrupted)
    assert all(abs(len(text) - len(answers[0])) <= 1 for text in corrupted)


def test_a_share_of_the_unknown_is_corrected_from_a_plausible_answer() -> None:
    wrong = wrong_answers(ask(UNKNOWN, plausible=("제주", "귤")))
    assert len(wrong) / DRAWS == pytest.approx(0.20, abs=0.02)
    assert set(wrong) == {"제주", "귤"}
    assert wrong_answers(ask(UNKNOWN)) == []


def test_one_seed_for_all_examples_gives_the_same_shares(klue_data: Path) -> None:
    examples = mrc.read(klue_data / "klue/klue-mrc-v1.1/klue-mrc-v1.1_train.json")
    targets = [mrc.training_pair(example, seed)[1] for seed in range(5) for example in examples]
    corrected = sum("\n정답이 아님" in target for target in targets)
    # 20 % of both kinds, and of the answers 3 % or 10 %.
    assert 0.20 < corrected / len(targets) < 0.27


def test_an_answer_without_a_wrong_neighbour_is_not_corrupted() -> None:
    assert set(wrong_answers(ask("가", "가가"))) == {UNKNOWN}


# --- the score -----------------------------------------------------------------------------------


def test_the_score_is_the_best_over_the_gold_answers() -> None:
    examples = [ask("귤", "귤 300개"), ask(UNKNOWN), ask("제주")]
    texts = ["출력: 귤 300개!\n정답임", "출력: 알 수 없음\n정답임", "서울"]
    assert mrc.score(examples, texts) == {
        "exact_match": pytest.approx(200 / 3),
        "rouge_w": pytest.approx(200 / 3),
        "unparsed": 1,
    }
    with pytest.raises(ValueError, match="no gold for the question '몇 개"):
        mrc.score([mrc.example(question="몇 개?", context="")], [""])


# --- windows -------------------------------------------------------------------------------------


def test_windows_keep_the_question_and_cover_the_context() -> None:
    example = ask("귤", context="가나다라마바사아자차" * 20)
    frame = byte_length(mrc.input_text(ask("귤", context="")))
    fitted = mrc.fit(example, frame + 100, 50)
    contexts = [part.inputs["context"] for part in fitted]
    assert contexts[0] == example.inputs["context"][:33]
    assert "".join(text[:16] for text in contexts[:-1]) + contexts[-1] == example.inputs["context"]
    for part in fitted:
        assert byte_length(mrc.input_text(part)) <= frame + 100
        assert part.inputs["question"] == example.inputs["question"]

    assert mrc.fit(example, frame + 600, 50) == [example]
    # A stride over what there is room for would leave gaps.
    assert len(mrc.fit(example, frame + 100, 500)) == 7
    with pytest.raises(InputError, match="q: the question leaves too little room"):
        mrc.fit(example, frame + 3, 50)
    # Nor are there windows of a few bytes, each with all of a long question.
    inputs = {"question": "".join(map(chr, range(0xAC00, 0xB400))), "context": "가나" * 2500}
    endless = replace(example, inputs=inputs)
    frame = byte_length(mrc.input_text(replace(endless, inputs=inputs | {"context": ""})))
    with pytest.raises(InputError, match="q: the question leaves too little room"):
        mrc.fit(endless, frame + 100)


def test_a_window_is_to_be_answered_from_what_it_shows() -> None:
    gold = Answers(("귤", "밀감"), ("배",))
    example = ask("귤", context="가" * 30 + "밀감" + "나" * 30 + "배" + "다" * 30)
    example = replace(example, gold=gold)
    frame = byte_length(mrc.input_text(ask("귤", context="")))
    golds = [part.gold for part in mrc.fit(example, frame + 102, 102)]
    assert golds == [
        Answers(("밀감",), ("배",)),
        Answers((UNKNOWN,), ("배",)),
        Answers((UNKNOWN,)),
    ]


def test_the_likeliest_answer_of_all_windows_counts() -> None:
    example = ask("귤")
    unknown = mrc.rivals[0]
    assert unknown == mrc.target_text(ask(UNKNOWN))
    texts = [unknown, "출력: 배\n정답임", "출력: 귤\n정답임"]
    # The second number is how likely the window finds that it has no answer.
    assert mrc.choose(example, texts, np.array([[-0.1, -0.1], [-3, -4], [-2, -5]])) == texts[2]
    # A wrong answer in one window is no reason to answer where none is sure of it.
    assert mrc.choose(example, texts, np.array([[-0.1, -0.1], [-50, -3], [-60, -1]])) == unknown
    assert mrc.choose(example, texts[1:], np.array([[-3, -2], [-4, -1]])) == unknown
    no_brackets = "출력: 알 수 없음\n정답임"
    assert mrc.choose(example, [no_brackets] * 2, np.array([[-1, -2], [-1, -2]])) == unknown


def test_a_window_has_an_answer_where_the_data_says() -> None:
    context = "귤" + "가" * 60 + "귤" + "나" * 60
    gold = Answers(("귤",), starts={"귤": (61,)})
    example = replace(ask("귤", context=context), gold=gold)
    frame = byte_length(mrc.input_text(ask("귤", context="")))
    parts = mrc.fit(example, frame + 90, 90)
    assert [part.inputs["context"].count("귤") for part in parts] == [1, 0, 1, 0, 0]
    assert [part.gold.texts[0] for part in parts] == [UNKNOWN, UNKNOWN, "귤", UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("end", ["\n", "\\n"])
def test_a_predictions_file_has_a_line_or_two_a_question(end: str) -> None:
    texts = ["출력: 귤\n정답임", "출력: 배\n정답이 아님, 새 정답: 귤", "출력: 귤"]
    lines = "\n".join(text.replace("\n", end) for text in texts).split("\n")
    assert mrc.split_texts([*lines, ""], 3) == texts


# --- the reader ----------------------------------------------------------------------------------


def content() -> dict[str, Any]:
    """A file with both kinds of questions, new each time."""
    return {
        "version": "v1.1",
        "data": [
            {
                "title": "귤",
                "paragraphs": [
                    {
                        "context": CONTEXT,
                        "qas": [
                            {
                                "question": "몇 개?",
                                "answers": [
                                    {"text": "300개", "answer_start": 11},
                                    {"text": "귤 300개", "answer_start": 9},
                                    {"text": "300개", "answer_start": 11},
                                ],
                                "question_type": 1,
                                "is_impossible": False,
                                "guid": "mrc_1",
                            },
                            {
                                "question": "언제?",
                                "answers": [],
                                "plausible_answers": [{"text": "제주", "answer_start": 4}],
                                "question_type": 3,
                                "is_impossible": True,
                                "guid": "mrc_2",
                            },
                        ],
                    }
                ],
            }
        ],
    }


GOLD = [Answers(("300개", "귤 300개")), Answers((UNKNOWN,), ("제주",))]


def write(folder: Path, text: str) -> Path:
    path = folder / "mrc.json"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("start", ["", "\ufeff", "\r\n \r\n"])
def test_a_file_is_read(tmp_path: Path, start: str) -> None:
    text = json.dumps(content(), ensure_ascii=False, indent=1)
    path = write(tmp_path, start + text.replace("\n", "\r\n"))
    examples = mrc.read(path)
    assert [e.gold for e in examples] == GOLD
    assert [e.id for e in examples] == ["mrc_1", "mrc_2"]
    assert examples[0].inputs == {"question": "몇 개?", "context": CONTEXT}
    lines = path.read_text("utf-8-sig").split("\n")
    for example in examples:
        name, line = example.place.rsplit(":", 1)
        assert name == str(path)
        assert f'"{example.id}"' in lines[int(line) - 1]


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    qas = content()["data"][0]["paragraphs"][0]["qas"]
    rows = [
        {
            "context": CONTEXT,
            # As published: what is only plausible is among the answers.
            "answers": {"text": [a["text"] for a in qa["answers"] or qa["plausible_answers"]]},
            **{key: qa[key] for key in ("guid", "question", "is_impossible")},
        }
        for qa in qas
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "mrc.parquet")
    examples = mrc.read(tmp_path / "mrc.parquet")
    assert [e.gold for e in examples] == GOLD
    assert examples[1].place == f"{tmp_path / 'mrc.parquet'}:2"


def broken(*path: str | int, value: Any = None) -> str:
    """The file with one thing in it removed or replaced."""
    whole = part = content()
    for step in path[:-1]:
        part = part[step]
    if value is None:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return json.dumps(whole, ensure_ascii=False, indent=1)


QAS = ("data", 0, "paragraphs", 0, "qas")
SECOND = "data[0].paragraphs[0].qas[1]"


def test_a_question_may_be_named_by_a_number(tmp_path: Path) -> None:
    examples = mrc.read(write(tmp_path, broken(*QAS, 0, "guid", value=0)))
    assert [example.id for example in examples] == ["0", "mrc_2"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ('{"data": [\n\n{"title"', ":3: not JSON"),
        ("[]", "expected an object"),
        ('{"data": []}', "no questions here"),
        (broken("data"), "no 'data' here"),
        (broken("data", value={"a": 1}), "'data' is not a list"),
        (broken("data", 0, value="a"), "data[0] is not an object"),
        (broken("data", 0, "paragraphs"), "data[0]: no 'paragraphs' here"),
        (broken(*QAS[:-1], "context"), "data[0].paragraphs[0]: no 'context' here"),
        (broken(*QAS, 1, "question"), f"{SECOND}: no 'question' here"),
        (broken(*QAS, 1, "guid"), f"{SECOND}: no 'guid' or 'id' here"),
        (broken(*QAS, 1, "guid", value=[7]), f"{SECOND}: 'guid' is [7]; expected text"),
        (broken(*QAS, 1, "is_impossible"), f"{SECOND}: question mrc_2 has no answer"),
        (broken(*QAS, 0, "answers", value=[]), "question mrc_1 has no answer"),
        (broken(*QAS, 0, "answers", value="300"), "question mrc_1 has no answer"),
        (broken(*QAS, 0, "answers", value=3), "question mrc_1 has no answer"),
        (broken(*QAS, 0, "answers", value=[{"text": ""}]), "question mrc_1 has no answer"),
        (broken(*QAS, 0, "answers", value=[{"answer_start": 1}]), "question mrc_1 has no answer"),
        (broken(*QAS, 0, "answers", value={"text": [1]}), "question mrc_1 has no answer"),
    ],
)
def test_bad_input_names_file_line_and_problem(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        mrc.read(path)
    message = str(caught.value)
    place, _, rest = message.removeprefix(f"{path}:").partition(": ")
    assert place.isdecimal()
    assert rest
    assert problem in message
    assert "expected" in message
    assert len(message.splitlines()) == 1
