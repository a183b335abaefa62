import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import example as explicit
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from kebyt5.errors import InputError
from kebyt5.tasks import Example
from kebyt5.tasks.metrics.ner import TYPES, entities, to_tags
from kebyt5.tasks.ner import _CLOSE, NER

ner = NER()

Part = tuple[str, str | None]


def spell(*parts: Part) -> Example:
    """An example from pieces of its sentence, each with its type, None outside of entities."""
    tags: list[str] = []
    for text, type_ in parts:
        tags += [f"B-{type_}", *[f"I-{type_}"] * (len(text) - 1)] if type_ else ["O"] * len(text)
    return Example("", {"sentence": "".join(text for text, _ in parts)}, tuple(tags))


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "ner.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- texts ---------------------------------------------------------------------------------------

TRIP = spell(("보라", "PS"), ("는 ", None), ("제주 바다", "LC"), ("에 갔다ㅋㅋㅋ;;", None))


def test_texts_are_the_published_ones() -> None:
    assert ner.input_text(TRIP) == "task: NER\n\n### 입력\n보라는 제주 바다에 갔다ㅋ;\n"
    assert ner.target_text(TRIP) == "<보라:PS>는 <제주 바다:LC>에 갔다ㅋ;"
    assert ner.training_pair(TRIP, seed=1) == (ner.input_text(TRIP), ner.target_text(TRIP))


def test_answers_and_shown_texts_are_about_the_sentence_as_it_was() -> None:
    parsed = ner.parse(ner.target_text(TRIP), TRIP)
    assert ner.show(parsed, TRIP) == "<보라:PS>는 <제주 바다:LC>에 갔다ㅋㅋㅋ;;"
    assert ner.to_json(parsed, TRIP) == [
        {"text": "보라", "type": "PS", "start": 0, "end": 2},
        {"text": "제주 바다", "type": "LC", "start": 4, "end": 9},
    ]


# --- round trip ----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_real_target_reads_back_as_its_gold(klue_data: Path, split: str) -> None:
    path = klue_data / f"klue/klue-ner-v1.1/klue-ner-v1.1_{split}.tsv"
    examples = ner.read(path)
    targets = [ner.target_text(example) for example in examples]
    parsed = [ner.parse(text, example) for text, example in zip(targets, examples, strict=True)]
    assert [p.value for p in parsed] == [example.gold for example in examples]

    result = ner.score(examples, targets)
    assert result.pop("unparsed") == 0
    assert set(result.values()) == {100.0}

    # The file says itself how the sentence looks with marks.
    lines = path.read_text(encoding="utf-8").split("\n")
    marked = [line.split("\t")[1] for line in lines if line.startswith("## klue-ner-")]
    assert [ner.show(p, e) for p, e in zip(parsed, examples, strict=True)] == marked

    for example, target in zip(examples, targets, strict=True):
        assert len(target.encode()) <= ner.max_target_bytes(example)


PARTS = st.lists(
    st.tuples(st.text("가나ㅋ;<>:PS ", min_size=1, max_size=6), st.sampled_from((None, *TYPES)))
)


@given(PARTS)
def test_a_target_reads_back_as_its_gold(parts: list[Part]) -> None:
    # Where the text is ambiguous (the next two tests), an entity yields.
    kept: list[Part] = []
    for text, type_ in parts:
        before, before_type = kept[-1] if kept else ("", None)
        kept.append((text, None if before_type is None and before[-1:] == "<" else type_))
    example = spell(*kept)
    if _CLOSE.search(example.inputs["sentence"]):
        example = spell((example.inputs["sentence"], None))
    parsed = ner.parse(ner.target_text(example), example)
    assert parsed == (example.gold, None)


@given(PARTS)
@explicit([("<", None), ("가", "PS")])
@explicit([("가", "PS"), (":PS>", None)])
def test_an_ambiguous_target_is_read_as_another_with_the_same_text(parts: list[Part]) -> None:
    example = spell(*parts)
    text = ner.target_text(example)
    parsed = ner.parse(text, example)
    assert parsed.reason is None
    assert ner.target_text(Example("", example.inputs, parsed.value)) == text


def test_an_ambiguous_mark_opens_and_closes_at_the_first_chance() -> None:
    title = spell(("영화 <", None), ("보라", "PS"), (">", None))
    assert ner.parse(ner.target_text(title), title).value == (
        spell(("영화 ", None), ("<보라", "PS"), (">", None)).gold
    )
    tagged = spell(("보라:PS>", "PS"))
    assert ner.parse(ner.target_text(tagged), tagged).value == (
        spell(("보라", "PS"), (":PS>", None)).gold
    )


def test_literal_marks_are_told_apart_by_the_sentence() -> None:
    for example in (
        spell(("영화 ", None), ("<보라", "PS"), (">는", None)),
        spell(("<길>을 찍은 ", None), ("보라", "PS"), (" 감독", None)),
        spell(("보라:PS>와 ", None), ("제주", "LC")),
        spell(("1", "QT"), (">", None), ("2", "QT"), ("><", None)),
        spell(("1인", "QT"), ("2역", "QT"), (" 둘", "QT")),
    ):
        assert ner.parse(ner.target_text(example), example) == (example.gold, None)


def test_a_run_across_the_boundary_of_an_entity_stays_whole() -> None:
    example = spell(("아 ㅋㅋ", None), ("ㅋ군", "PS"), ("ㅋㅋ", None))
    assert ner.input_text(example).endswith("\n아 ㅋ군ㅋ\n")
    assert ner.target_text(example) == "아 ㅋㅋ<ㅋ군:PS>ㅋ"
    assert ner.parse(ner.target_text(example), example) == (example.gold, None)


def test_gold_that_is_not_iob2_gets_marks_only_for_its_proper_entities() -> None:
    example = Example("", {"sentence": "가나다라"}, ("I-PS", "B-LC", "I-PS", "I-LC"))
    assert ner.target_text(example) == "가<나:LC>다라"


# --- the parser ----------------------------------------------------------------------------------

MEAL = spell(
    ("보라", "PS"),
    ("는 ", None),
    ("3월", "DT"),
    ("에 ", None),
    ("제주", "LC"),
    ("로 갔다ㅋㅋ", None),
)


CHANGED, HALF = "the sentence was changed", "unbalanced mark"


@pytest.mark.parametrize(
    ("text", "shown", "reason"),
    [
        # The sentence itself, its run of ㅋ collapsed or not, with marks or without.
        ("<보라:PS>는 3월에 <제주:LC>로 갔다ㅋ", "<보라:PS>는 3월에 <제주:LC>로 갔다ㅋㅋ", None),
        ("<보라:PS>는 3월에 <제주:LC>로 갔다ㅋㅋ", "<보라:PS>는 3월에 <제주:LC>로 갔다ㅋㅋ", None),
        ("보라는 3월에 제주로 갔다ㅋ", "보라는 3월에 제주로 갔다ㅋㅋ", None),
        ("", "보라는 3월에 제주로 갔다ㅋㅋ", "empty"),
        # Characters lost, added and changed, outside of entities and inside.
        ("<보라:PS>가 <3 월:DT> <주:LC>로", "<보라:PS>는 <3월:DT>에 제<주:LC>로 갔다ㅋㅋ", CHANGED),
        # All that a model sees of a sentence over the limit, for example.
        ("<보라:PS>는 3월에", "<보라:PS>는 3월에 제주로 갔다ㅋㅋ", "only the beginning"),
        # One entity stays one: the gap is filled.
        ("<보라 제주:PS>", "<보라는 3월에 제주:PS>로 갔다ㅋㅋ", CHANGED),
        # An entity of which nothing is in the sentence.
        ("<한별:PS>은 <3월:DT>에 제주로", "보라는 <3월:DT>에 제주로 갔다ㅋㅋ", CHANGED),
        # The tag of a collapsed run covers the run.
        ("그는 <갔다ㅋ:DT>", "보라는 3월에 제주로 <갔다ㅋㅋ:DT>", CHANGED),
        # Marks cut off, not opened, nested, empty, of an unknown type.
        ("<보라:PS>는 <3월:D", "<보라:PS>는 3월에 제주로 갔다ㅋㅋ", HALF),
        ("보라:PS>는 <3월:DT>에", "보라는 <3월:DT>에 제주로 갔다ㅋㅋ", HALF),
        ("<보라는 <3월:DT>에:PS> 제주로", "보라는 <3월:DT>에 제주로 갔다ㅋㅋ", HALF),
        ("<<보라:PS>는 3월에 제주로 갔다ㅋ", "<보라:PS>는 3월에 제주로 갔다ㅋㅋ", HALF),
        ("<:PS>보라는 <3월:DT>에", "보라는 <3월:DT>에 제주로 갔다ㅋㅋ", HALF),
        ("<보라:XY>는 <3월:DT>에", "보라는 <3월:DT>에 제주로 갔다ㅋㅋ", HALF),
    ],
)
def test_a_changed_text_is_aligned_to_the_sentence(
    text: str, shown: str, reason: str | None
) -> None:
    parsed = ner.parse(text, MEAL)
    assert ner.show(parsed, MEAL) == shown
    assert parsed.reason == reason


def test_a_literal_opening_mark_belongs_to_the_entity_in_a_changed_text_too() -> None:
    title = ner.example(sentence="영화 <보라>는 좋다")
    changed = ner.parse("영화 <<보라:PS>>은 좋다", title)
    assert ner.show(changed, title) == "영화 <<보라:PS>>는 좋다"
    assert changed == (ner.parse("영화 <<보라:PS>>는 좋다", title).value, CHANGED)


PIECES = st.sampled_from(["<", ">", ":", ":PS>", ":LC>", "<:QT>", "가", "ㅋㅋ", ";", " ", "\n"])
ANYTHING = st.text(st.characters()) | st.lists(PIECES).map("".join)


@given(sentence=ANYTHING, text=ANYTHING, cut=st.integers(0, 40), put=ANYTHING)
def test_any_text_is_read_as_proper_tags(sentence: str, text: str, cut: int, put: str) -> None:
    example = ner.example(sentence=sentence)
    target = ner.show(ner.parse(text, example), example)
    for answer in (text, target[:cut] + put + target[cut + 1 :]):
        parsed = ner.parse(answer, example)
        assert len(parsed.value) == len(sentence)
        assert to_tags(entities(parsed.value), len(sentence)) == parsed.value
        ner.to_json(parsed, example)
        ner.show(parsed, example)
    assert ner.max_target_bytes(example) > 0


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("<" * 10_000, "<" * 10_000),
        ("<" * 10_000, "<" * 9_000 + ":PS>"),
        (":PS>" * 2_500, "<:PS>:PS>" * 2_500),
        (":PS><" * 4_000, "<:PS>" * 4_000),
        ("ㅋ" * 10_000, "<ㅋ:PS>" * 5_000),
    ],
)
def test_sentences_made_to_be_ambiguous_are_read_in_time(sentence: str, text: str) -> None:
    began = time.perf_counter()
    assert len(ner.parse(text, ner.example(sentence=sentence)).value) == len(sentence)
    assert time.perf_counter() - began < 10


# --- the score -----------------------------------------------------------------------------------


def test_the_score_counts_what_was_found_and_what_could_not_be_read() -> None:
    # 보라 is right, 3월 has the wrong type, 제주 is missed: 1 of 3 wanted, 1 of 2 given.
    result = ner.score(
        [MEAL, TRIP], ["<보라:PS>는 <3월:TI>에 제주로 갔다ㅋ", ner.target_text(TRIP) + "."]
    )
    assert result["unparsed"] == 1.0
    assert result["entity_micro_f1"] == pytest.approx(100 * 2 * 3 / (5 + 4))
    # PS 2 of 2, LC 1 of 2 and 1 given, DT and TI nothing.
    assert result["entity_macro_f1"] == pytest.approx(100 * (1 + 2 / 3 + 0 + 0) / 4)
    assert ner.main_score in result


def test_the_score_wants_one_text_and_gold_for_each_example() -> None:
    with pytest.raises(ValueError, match="zip"):
        ner.score([MEAL, TRIP], [""])
    with pytest.raises(ValueError, match="no gold for the sentence '제주'"):
        ner.score([ner.example(sentence="제주")], ["제주"])


# --- the baseline --------------------------------------------------------------------------------


def test_the_baseline_knows_the_training_entities_by_heart() -> None:
    train = [
        spell(("한강", "LC"), ("에서 ", None), ("한", "PS"), ("씨가 한 말 하나", None)),
        spell(("한강", "OG"), (" 직원이 한 일", None)),
        spell(("한강 공원", "LC"), ("에 ", None), ("하나", "QT"), ("도 없다", None)),
    ]
    found = ner.baseline(
        train, [spell(("한강은 한 번, 한강 공원은 하나뿐", None)), spell(("새 길", None))]
    )
    # 한 is an ordinary word more often than not, 하나 as often as not; 한강 is a place as often as
    # an organization, and LC comes first; the longest form wins.
    assert found == ["<한강:LC>은 한 번, <한강 공원:LC>은 <하나:QT>뿐", "새 길"]


def test_the_baseline_scores_as_documented_on_real_data(klue_data: Path) -> None:
    folder = klue_data / "klue/klue-ner-v1.1"
    train, dev = (ner.read(folder / f"klue-ner-v1.1_{split}.tsv") for split in ("train", "dev"))
    result = ner.score(dev, ner.baseline(train, dev))
    assert result["entity_macro_f1"] == pytest.approx(51.9, abs=0.1)
    assert result["unparsed"] == 0


# --- the reader ----------------------------------------------------------------------------------

FILE = """\
## 문장 구분자 : \\n\\n
## 컬럼명 : CHAR\tNE_TAG
## one\t<보라:PS> 와
보\tB-PS
라\tI-PS
 \tO
와\tO

## two\t<제주:LC>;
제\tB-LC
주\tI-LC
;\tO

"""
ONE = (("보라 와", ("B-PS", "I-PS", "O", "O")), ("제주;", ("B-LC", "I-LC", "O")))


def contents(examples: Sequence[Example]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((example.inputs["sentence"], example.gold) for example in examples)


def test_an_example_knows_its_name_and_place(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    assert [(e.id, e.place) for e in ner.read(path)] == [
        ("one", f"{path}:4"),
        ("two", f"{path}:10"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(FILE, id="as published"),
        pytest.param("\ufeff" + FILE, id="BOM"),
        pytest.param(FILE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(FILE.replace("O\n", "O\r\n"), id="mixed line ends"),
        pytest.param(FILE.rstrip("\n"), id="no last line end"),
        pytest.param("\n" + FILE.replace("\n\n", "\n\n\r\n\n"), id="many blank lines"),
        pytest.param(FILE.replace("\n\n", "\n\t\n"), id="a tab as blank line"),
        pytest.param(re.sub("(?m)^##.*\n", "", FILE), id="no comments"),
        pytest.param(FILE.replace("> 와\n", "> 와 함께\n"), id="another comment"),
        pytest.param(FILE.replace("## one", "## 끝\n\n## one"), id="head of its own"),
    ],
)
def test_harmless_variants_read_the_same(tmp_path: Path, content: str) -> None:
    assert contents(ner.read(write(tmp_path, content))) == ONE


def test_tags_that_mark_no_entity_are_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path, "가\tB-PS\n나\tI-PS\n\n다\tI-LC\n\n라\tB-PS\n마\tI-LC\n")
    with pytest.warns(UserWarning, match=rf"{path}:4: I- tags here, and in 1 more sentences.*B-"):
        examples = ner.read(path)
    assert [ner.target_text(example) for example in examples] == ["<가나:PS>", "다", "<라:PS>마"]


def test_without_comments_an_example_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "가\tO\n\n나\tO\n")
    assert [example.id for example in ner.read(path)] == ["1", "3"]


@pytest.mark.parametrize(
    "character", '#"\u2028\u2029\x85\x0b\x0c\x1c\x1e\r\t\0 \u00a0\u3000\ufeff\u1100\u200b🎉'
)
def test_any_character_may_be_a_row(tmp_path: Path, character: str) -> None:
    path = write(tmp_path, f"가\tO\n{character}\tB-QT\n{character}\tI-QT\n\n나\tO\n")
    assert contents(ner.read(path)) == (
        ("가" + 2 * character, ("O", "B-QT", "I-QT")),
        ("나", ("O",)),
    )


TWO = "가\tO\n\n"  # a good sentence first, so that the line of the next is 3


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "no sentence here"),
        ("## 문장 구분자 : \\n\\n\n", 1, "no sentence here"),
        (TWO + "나 O\n", 3, "no tab"),
        (TWO + "나\tO\tO\n", 3, "3 columns"),
        (TWO + "\tO\n", 3, "no character before the tab"),
        (TWO + "나다\tO\n", 3, "2 characters in a row"),
        (TWO + "\u1102\u1161\tO\n", 3, "2 characters in a row"),
        (TWO + "나\tB-XY\n", 3, "unknown tag 'B-XY', known are B-PS I-PS "),
        (TWO + "나\tO \n", 3, "unknown tag 'O '"),
        (TWO + "나\tO\n## two\t나다\n다\tO\n", 4, "comment inside a sentence"),
        (TWO + "## two\t나\n\n다\tO\n", 3, "no rows for two"),
        (TWO + "## two\t나다\n나\tO\n", 4, "the file ends here; expected the other rows of two"),
        (TWO + "나\tB-", 3, "expected 'character<TAB>tag'; the file seems to be cut off here"),
        (TWO + "## tw", 3, "the file seems to be cut off here"),
        (TWO.encode() + "나".encode("cp949") + b"\tO\n", 3, "CP949, but expected UTF-8"),
        (TWO.encode() + "나".encode()[:2], 3, "not UTF-8 (unexpected end of data"),
        (TWO.encode("utf-16"), 1, "UTF-16, but expected UTF-8"),
    ],
)
def test_bad_input_names_file_line_and_problem(
    tmp_path: Path, content: str | bytes, line: int, problem: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        ner.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message
    assert "expected" in message
    assert len(message.splitlines()) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.tsv"):
        with pytest.raises(InputError, match="cannot be read: "):
            ner.read(path)


def test_a_file_cut_anywhere_is_refused_or_ends_with_a_whole_sentence(tmp_path: Path) -> None:
    data = FILE.encode()
    accepted = set()
    for cut in range(len(data)):
        with suppress(InputError):
            accepted.add(contents(ner.read(write(tmp_path, data[:cut]))))
    assert accepted == {ONE[:1], ONE}


# --- the table on the hub ------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [[6, 7, 12, 12], ["B-PS", "I-PS", "O", "O"]])
def test_a_parquet_table_has_a_row_a_sentence(tmp_path: Path, tags: list[Any]) -> None:
    path = tmp_path / "ner.parquet"
    rows = [{"sentence": "<보라:PS> 씨", "tokens": list("보라 씨"), "ner_tags": tags}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    (example,) = ner.read(path)
    assert example.inputs == {"sentence": "보라 씨"}
    assert ner.target_text(example) == "<보라:PS> 씨"
    assert example.place == f"{path}:1"


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": ["보라"], "ner_tags": [6]},
        {"tokens": ["보"], "ner_tags": [13]},
        {"tokens": ["보"], "ner_tags": [6, 7]},
        {"tokens": [], "ner_tags": []},
        {"tokens": ["보", None], "ner_tags": [6, 7]},
        {"tokens": [1, 2], "ner_tags": [6, 7]},
        {"tokens": ["보", "라"], "ner_tags": [[6], [7]]},
        {"sentence": "보"},
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "ner.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    with pytest.raises(InputError, match=r"ner\.parquet:1: "):
        ner.read(path)
