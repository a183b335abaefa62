import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.tasks.task import Example
from kebyt5.tasks.wos import WOS

wos = WOS()


def turn(dialogue: str, *pairs: str) -> Example:
    return Example("w", {"dialogue": dialogue}, frozenset(pairs))


# --- texts ---------------------------------------------------------------------------------------

DINNER = turn(
    "사용자: 한식당을 찾아요.\n시스템: 어디에서요?\n사용자: 강남이요.",
    "식당-지역=강남",
    "식당-종류=한식",
)


def test_texts_are_as_designed() -> None:
    assert wos.input_text(DINNER) == (
        "task: DST\n\n### 대화\n사용자: 한식당을 찾아요.\n시스템: 어디에서요?\n사용자: 강남이요.\n"
    )
    assert wos.target_text(DINNER) == "식당-종류=한식▁식당-지역=강남"
    assert wos.target_text(turn("사용자: 안녕하세요")) == "없음"


@pytest.mark.parametrize(
    ("text", "pairs", "reason"),
    [
        ("없음", [], None),
        (" 없음\n", [], None),
        ("식당-지역=강남▁식당-종류=한식", ["식당-종류=한식", "식당-지역=강남"], None),
        ("식당-지역=강남▁식당-지역=강남", ["식당-지역=강남"], None),
        ("가-나=1▁가-나=2", ["가-나=1", "가-나=2"], "two values for '가-나'"),
        ("식당-이름=가=나-다", ["식당-이름=가=나-다"], None),
        ("식당-이름=", ["식당-이름="], None),
        # What is no pair is passed over.
        ("식당-이름=가▁나▁식당-지역=강남", ["식당-이름=가", "식당-지역=강남"], "not a pair: '나'"),
        ("식당-이름=가▁", ["식당-이름=가"], "not a pair: ''"),
        ("식당=가", ["식당=가"], None),
        ("강남 한식당", [], "not a pair: '강남 한식당'"),
        ("", [], "empty"),
        ("\n", [], "empty"),
        # Blanks around a pair belong to nothing.
        ("식당-지역=강남\n", ["식당-지역=강남"], None),
        ("식당-지역=강남 ▁ 식당-종류=한식", ["식당-종류=한식", "식당-지역=강남"], None),
    ],
)
def test_a_text_is_read_as_a_state(text: str, pairs: list[str], reason: str | None) -> None:
    assert wos.parse(text, DINNER) == (frozenset(pairs), reason)


def test_answers_and_shown_texts_are_states() -> None:
    parsed = wos.parse("식당-이름=가=나▁식당-지역=강남", DINNER)
    assert wos.to_json(parsed, DINNER) == {"식당-이름": "가=나", "식당-지역": "강남"}
    assert wos.show(parsed, DINNER) == "식당-이름=가=나▁식당-지역=강남"


NAMES = st.text("가나다 ", min_size=1)
VALUES = st.text("가나=-:<>/ \n")


@given(st.dictionaries(st.tuples(NAMES, NAMES), VALUES))
def test_a_target_reads_back_as_its_gold(state: dict[tuple[str, str], str]) -> None:
    pairs = (f"{domain}-{slot}={value}".strip() for (domain, slot), value in state.items())
    example = turn("", *pairs)
    assert wos.parse(wos.target_text(example), example) == (example.gold, None)


@given(st.text(st.characters()) | st.lists(st.sampled_from("가-=▁\n ")).map("".join))
def test_any_text_is_read_as_proper_pairs(text: str) -> None:
    parsed = wos.parse(text, DINNER)
    assert all("=" in pair for pair in parsed.value)
    assert json.dumps(wos.to_json(parsed, DINNER))
    assert wos.parse(wos.show(parsed, DINNER), DINNER).value == parsed.value


def test_every_value_of_the_ontology_reads_back(klue_data: Path) -> None:
    ontology = json.loads((klue_data / "klue/wos-v1.1/ontology.json").read_text("utf-8"))
    for name, values in ontology.items():
        # What lets the reader divide a pair of the files at its second dash.
        assert name.count("-") == 1
        assert "=" not in name
        for value in values:
            assert "▁" not in value
            example = turn("", f"{name}={value}", "다른-칸=가")
            parsed = wos.parse(wos.target_text(example), example)
            assert parsed == (example.gold, None)
            assert wos.to_json(parsed, example)[name] == value


@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_real_target_reads_back_as_its_gold(klue_data: Path, split: str) -> None:
    path = klue_data / f"klue/wos-v1.1/wos-v1.1_{split}.json"
    examples = wos.read(path)
    targets = [wos.target_text(example) for example in examples]
    for example, target in zip(examples, targets, strict=True):
        assert wos.parse(target, example) == (example.gold, None)
        assert byte_length(target) <= wos.max_target_bytes(example)
    assert wos.score(examples, targets) == {"jga": 100, "slot_f1": 100, "unparsed": 0}

    dialogues = json.loads(path.read_text("utf-8"))
    states = [turn["state"] for d in dialogues for turn in d["dialogue"] if turn["role"] == "user"]
    assert [{p.replace("=", "-", 1) for p in e.gold} for e in examples] == list(map(set, states))


def test_the_score_counts_what_could_not_be_read() -> None:
    result = wos.score([DINNER, turn("")], ["식당-종류=한식▁식당-지역=강북", "글쎄요"])
    assert result == {"jga": 50, "slot_f1": 75, "unparsed": 1}
    with pytest.raises(ValueError, match="no gold for the dialogue"):
        wos.score([wos.example(dialogue="사용자: 안녕")], ["없음"])


# --- long dialogues ------------------------------------------------------------------------------


def test_the_oldest_turns_are_dropped() -> None:
    whole = byte_length(wos.input_text(DINNER))
    assert wos.fit(DINNER, whole, 9) == [DINNER]
    first = byte_length("사용자: 한식당을 찾아요.\n")
    (example,) = wos.fit(DINNER, whole - 1, 9)
    assert example.inputs["dialogue"] == "시스템: 어디에서요?\n사용자: 강남이요."
    assert (example.id, example.gold) == ("w", DINNER.gold)
    assert wos.fit(DINNER, whole - first, 9) == [example]
    (example,) = wos.fit(DINNER, whole - first - 1, 9)
    assert example.inputs["dialogue"] == "사용자: 강남이요."
    # Of the last turn the end is kept, in whole characters.
    (example,) = wos.fit(DINNER, byte_length(wos.input_text(example)) - 1, 9)
    assert example.inputs["dialogue"] == "사용자: 남이요."
    with pytest.raises(InputError, match="w: no room for a turn within 30 bytes"):
        wos.fit(DINNER, 30, 9)


@given(st.lists(st.text(st.characters(exclude_characters="\n")), min_size=1), st.integers(38, 200))
def test_a_fitted_dialogue_fits(lines: list[str], limit: int) -> None:
    dialogue = "\n".join(f"사용자: {line}" for line in lines)
    (example,) = wos.fit(wos.example(dialogue=dialogue), limit, 9)
    kept = example.inputs["dialogue"]
    assert byte_length(wos.input_text(example)) <= limit
    assert dialogue.endswith(kept.removeprefix("사용자: "))
    assert kept.startswith("사용자: ")


# --- the reader ----------------------------------------------------------------------------------


def content() -> list[dict[str, Any]]:
    """A file, new each time."""
    return [
        {
            "guid": "wos_1",
            "domains": ["식당"],
            "dialogue": [
                {"role": "user", "text": "안녕하세요.\n배고파요.", "state": []},
                {"role": "sys", "text": "무엇을 드릴까요? "},
                {"role": "user", "text": "1-2인분이요.", "state": ["식당-예약 명수-1-2"]},
                {"role": "sys", "text": "네."},
            ],
        }
    ]


SAID = "사용자: 안녕하세요. 배고파요."


@pytest.mark.parametrize("start", ["", "\ufeff", "\r\n\r\n"])
def test_a_file_is_read(tmp_path: Path, start: str) -> None:
    path = tmp_path / "wos.json"
    text = json.dumps(content(), ensure_ascii=False, indent=1).replace("\n", "\r\n")
    path.write_bytes((start + text).encode())
    first, second = wos.read(path)
    assert first == Example("wos_1-0", {"dialogue": SAID}, frozenset(), first.place)
    assert second.inputs["dialogue"] == f"{SAID}\n시스템: 무엇을 드릴까요? \n사용자: 1-2인분이요."
    assert second.gold == {"식당-예약 명수=1-2"}
    assert (second.id, second.place) == ("wos_1-1", first.place)


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "wos.json").write_text(json.dumps(content()), encoding="utf-8")
    rows = content()
    for part in rows[0]["dialogue"]:
        part.setdefault("state", [])
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "wos.parquet")
    one, other = (wos.read(tmp_path / f"wos.{suffix}") for suffix in ("json", "parquet"))
    assert [(e.id, e.inputs, e.gold) for e in one] == [(e.id, e.inputs, e.gold) for e in other]


def broken(number: int, **changes: Any) -> list[dict[str, Any]]:
    """The file with changed fields of one turn; None removes a field."""
    dialogues = content()
    fields = dialogues[0]["dialogue"][number] | changes
    kept = {key: value for key, value in fields.items() if value is not None}
    dialogues[0]["dialogue"][number] = kept
    return dialogues


@pytest.mark.parametrize(
    ("dialogues", "problem"),
    [
        ([], "no examples"),
        ({"data": []}, "expected a list"),
        ([{"guid": "wos_1"}], "no 'dialogue' here"),
        ([{"guid": "wos_1", "dialogue": "안녕"}], "'dialogue' of wos_1 is not a list"),
        ([{"guid": "wos_1", "dialogue": ["안녕"]}], "turn 0 of wos_1: not an object"),
        ([{"guid": "wos_1", "dialogue": []}], "no user turn"),
        (broken(2, role=None), "turn 2 of wos_1: no 'role' here"),
        (broken(2, role="bot"), "turn 2 of wos_1: unknown role 'bot'; expected user or sys"),
        (broken(1, text=None), "turn 1 of wos_1: no 'text' here"),
        (broken(1, text=3), "turn 1 of wos_1: 'text' is 3; expected text"),
        (broken(2, state=None), "turn 2 of wos_1: no 'state' here"),
        (broken(2, state="식당"), "turn 2 of wos_1: 'state' is not a list"),
        (broken(2, state=["식당-이름"]), "state '식당-이름'; expected 'domain-slot-value'"),
        (broken(2, state=["식당--가"]), "state '식당--가'; expected 'domain-slot-value'"),
        (broken(2, state=[3]), "state 3; expected 'domain-slot-value'"),
    ],
)
def test_bad_input_names_file_line_and_problem(
    tmp_path: Path, dialogues: object, problem: str
) -> None:
    path = tmp_path / "wos.json"
    path.write_text(json.dumps(dialogues, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        wos.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:1: ")
    assert problem in message
    assert "expected" in message
    assert len(message.splitlines()) == 1


def test_a_value_that_would_divide_pairs_is_refused(tmp_path: Path) -> None:
    records = content()
    records[0]["dialogue"][0]["state"] = ["식당-이름-가▁나"]
    path = tmp_path / "wos.json"
    path.write_text(json.dumps(records))
    with pytest.raises(InputError, match="contains ▁"):
        wos.read(path)
