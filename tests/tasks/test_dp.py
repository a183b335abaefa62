import re
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from sklearn.metrics import f1_score

from kebyt5.errors import InputError
from kebyt5.tasks import Example
from kebyt5.tasks.dp import DP
from kebyt5.tasks.metrics.dp import LABELS, MISSING, Arc, arc_label_scores, scores

dp = DP()

FILE = """\
## 문장 구분자 : \\n\\n
## 칼럼명 : INDEX\tWORD_FORM\tLEMMA\tPOS\tHEAD\tDEPREL
## one\t보라는 <새/길:▁>을  걷는다.
1\t보라는\t보라 는\tNNP+JX\t3\tNP_SBJ
2\t<새/길:▁>을\t< 새 / 길 : ▁ > 을\tSS+MMA+SP+NNG+SP+SW+SS+JKO\t3\tNP_OBJ
3\t걷는다.\t걷 는다 .\tVV+EF+SF\t0\tVP

## two\t벌써 100%
1\t벌써\t벌써\tMAG\t2\tAP
2\t100%\t100%\tSN+SW\t0\tVNP

"""
GOLD = (
    (Arc(3, "NP_SBJ"), Arc(3, "NP_OBJ"), Arc(0, "VP")),
    (Arc(2, "AP"), Arc(0, "VNP")),
)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "dp.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    return dp.read(write(tmp_path, FILE))


# --- texts ---------------------------------------------------------------------------------------


def test_texts_are_the_published_ones(examples: list[Example]) -> None:
    walk, full = examples
    assert dp.input_text(walk) == (
        "task: Dependency Parsing\n\nInput: 보라는 <새/길:▁>을  걷는다.\n"
        "Lemmas: 1/보라는/3/보라 는/NNP+JX/보라:NNP/는:JX\n"
        "2/<새/길:▁>을/8/< 새 / 길 : ▁ > 을/SS+MMA+SP+NNG+SP+SW+SS+JKO/<:SS/을:JKO\n"
        "3/걷는다./4/걷 는다 ./VV+EF+SF/걷:VV/.:SF\n"
    )
    assert dp.target_text(walk) == (
        "deprel: (1/3, 3, NP_SBJ)▁(2/8, 3, NP_OBJ)▁(3/4, 0, VP)\nword_counts: 3"
    )
    # The tags say how many morphemes there are, also where the lemmas are fewer.
    assert dp.input_text(full).endswith(
        "Lemmas: 1/벌써/2/벌써/MAG/벌써:MAG/NONE\n2/100%/4/100%/SN+SW/100%:SN/100%:SW\n"
    )


def test_new_inputs_need_the_columns_of_the_words() -> None:
    example = dp.example(sentence="벌써", words="벌써\t벌써\tMAG\n")
    assert dp.input_text(example).endswith(
        "\n\nInput: 벌써\nLemmas: 1/벌써/2/벌써/MAG/벌써:MAG/NONE\n"
    )
    assert dp.show(dp.parse("deprel: (1/2, 0, AP)", example), example) == "벌써 → ROOT (AP)"
    with pytest.raises(InputError, match=r"input: line 2 .* 'words' has 1 columns; expected 'wo"):
        dp.input_text(dp.example(sentence="벌써", words="벌써\t벌써\tMAG\n벌써"))


def test_answers_are_about_the_words(examples: list[Example]) -> None:
    parsed = dp.parse("deprel: (1/3, 3, NP_SBJ)▁?▁(3/4, 0, VP)", examples[0])
    assert dp.to_json(parsed, examples[0]) == [
        {"word": "보라는", "head": 3, "label": "NP_SBJ"},
        {"word": "<새/길:▁>을", "head": None, "label": None},
        {"word": "걷는다.", "head": 0, "label": "VP"},
    ]
    assert dp.show(parsed, examples[0]).splitlines() == [
        "보라는 → 걷는다. (NP_SBJ)",
        "<새/길:▁>을 → ? ()",
        "걷는다. → ROOT (VP)",
    ]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_real_target_reads_back_as_its_gold(klue_data: Path, split: str) -> None:
    real = dp.read(klue_data / f"klue/klue-dp-v1.1/klue-dp-v1.1_{split}.tsv")
    targets = [dp.target_text(example) for example in real]
    for example, target in zip(real, targets, strict=True):
        assert dp.parse(target, example) == (example.gold, None)
        assert len(target.encode()) <= dp.max_target_bytes(example)
        assert dp.input_text(example).count("\n") == 3 + len(example.gold)
    result = dp.score(real, targets)
    assert result.pop("unparsed") == 0
    assert set(result.values()) == {100.0}

    # The rows of the file, read in another way, say the same.
    rows = re.findall(r"(?m)^(\d+)\t(\S+)\t.*\t(\d+)\t(\w+)$", _text(klue_data, split))
    entries = re.findall(r"\((\d+)/(\d+), (\d+), (\w+)\)", "\n".join(targets))
    assert entries == [(i, str(len(word)), head, label) for i, word, head, label in rows]


def _text(klue_data: Path, split: str) -> str:
    path = klue_data / f"klue/klue-dp-v1.1/klue-dp-v1.1_{split}.tsv"
    return path.read_text(encoding="utf-8")


# --- parsing -------------------------------------------------------------------------------------

SBJ, OBJ, ROOT = GOLD[0]


@pytest.mark.parametrize(
    ("text", "arcs", "reason"),
    [
        # Published outputs: with the length of the word, without it, with the word itself.
        ("deprel: (1/3, 3, NP_SBJ)▁(2/8, 3, NP_OBJ)▁(3/4, 0, VP)\n", (SBJ, OBJ, ROOT), None),
        ("deprel: (1, 3, NP_SBJ)▁(2, 3, NP_OBJ)▁(3, 0, VP)", (SBJ, OBJ, ROOT), None),
        ("deprel: ([보라 는], 3, NP_SBJ)▁((, ), 3, NP_OBJ)▁(가, 0, VP)", (SBJ, OBJ, ROOT), None),
        ("word_counts: 3\ndeprel: (1, 3, NP_SBJ)▁(2, 3, NP_OBJ)▁(3, 0, VP)", GOLD[0], None),
        # The order counts, not the number an entry gives itself, nor the count of words.
        ("deprel: (7/1, 3, NP_SBJ)▁(7, 3, NP_OBJ)▁(1, 0, VP)\nword_counts: 9", GOLD[0], None),
        ("deprel: (1, 3, NP_SBJ)▁(2, 3, NP_OBJ)", (SBJ, OBJ, MISSING), "too few arcs"),
        ("deprel: (1, 3, NP_SBJ)▁(2, 3, NP_OBJ)▁(3, 0, VP)▁(4, 0, VP)", GOLD[0], "too many arcs"),
        ("deprel: (1, 3, NP_SBJ)▁(2, 3, NP_", (SBJ, MISSING, MISSING), "too few arcs"),
        ("deprel: (1,3,NP)▁ (2, 3, NP)▁(3, 0, VP)", (MISSING, MISSING, ROOT), "unreadable arc"),
        ("deprel: (1, -1, VP)▁(2, x, VP)▁(3, 0, vp)", (MISSING,) * 3, "unreadable arc"),
        ("deprel: (1, 3, XX)▁(2, 99, NP)▁(3, 0, VP)",
         (Arc(3, "XX"), Arc(99, "NP"), ROOT), "unknown label"),
        ("deprel:(1, 3, NP_SBJ)▁(2, 3, NP_OBJ)▁(3, 0, VP)", (MISSING, OBJ, ROOT), "unreadable arc"),
        ("(1, 3, NP_SBJ)▁(2, 3, NP_OBJ)▁(3, 0, VP)", (SBJ, OBJ, ROOT), "no line of arcs"),
        ("모르겠다", (MISSING,) * 3, "no line of arcs"),
        ("deprel: ", (MISSING,) * 3, "too few arcs"),
        (" \n", (MISSING,) * 3, "empty"),
    ],
)  # fmt: skip
def test_entries_are_cut_and_filled_to_the_words(
    examples: list[Example], text: str, arcs: tuple[Arc, ...], reason: str | None
) -> None:
    assert dp.parse(text, examples[0]) == (arcs, reason)


PIECES = st.sampled_from(
    ["deprel: ", "(1/3, 3, NP)", "(2, 9, X", "▁", ", ", ")", "1" * 5000, "VP", "\n", "\x85"]
)


@given(st.text() | st.lists(PIECES).map("".join))
def test_any_text_is_read_as_one_arc_a_word(text: str) -> None:
    for words in ("", "가\t가\tNNG", "가\t가\tNNG\n나\t나\tNNG"):
        example = dp.example(sentence="", words=words)
        parsed = dp.parse(text, example)
        assert len(parsed.value) == len(dp.to_json(parsed, example)) == len(words.split()) / 3
        dp.show(parsed, example)
        assert dp.max_target_bytes(example) > 0


def test_a_text_made_to_be_slow_is_read_in_time() -> None:
    example = dp.example(sentence="가", words="가\t가\tNNG")
    began = time.perf_counter()
    for text in ("(" * 50_000, "(1, 1" * 20_000, "(1, 1, A" * 10_000, "(1, 1, " + "A" * 50_000):
        assert dp.parse("deprel: " + text, example).value == (MISSING,)
    assert time.perf_counter() - began < 10


def test_a_plain_file_of_predictions_may_have_one_or_two_lines_a_text() -> None:
    lines = ["deprel: (1, 0, VP)", "word_counts: 1", "", "word_counts: 1", "deprel: ?"]
    assert dp.split_texts(lines, 3) == ["deprel: (1, 0, VP)", "", "deprel: ?"]


# --- the score -----------------------------------------------------------------------------------


def test_a_worked_example(examples: list[Example]) -> None:
    result = dp.score(examples, ["deprel: (1, 3, NP_OBJ)▁(2, 2, NP_OBJ)▁(3, 0, VP)", "deprel: x"])
    # Heads: gold 3 3 0 2 0, predicted 3 2 0 -2 -2; F1 of 3: 2/3, of 0: 2/3, of 2 and of -2: 0.
    # Labels: gold SBJ OBJ VP AP VNP, predicted OBJ -2 VP -2 -2; F1 of VP: 1, of five others 0.
    assert result == pytest.approx(
        {
            "uas_macro_f1": 100 / 3,
            "las_macro_f1": 100 / 6,
            "uas_micro_f1": 40,
            "las_micro_f1": 20,
            "unparsed": 1,
        }
    )
    assert dp.main_score in result


def test_rare_labels_are_one_class_and_unknown_ones_another() -> None:
    assert LABELS[14:16] == ("VP_SBJ", "VP_CMP")
    assert len(set(LABELS)) == 38
    rare = [Arc(1, LABELS[15]), Arc(2, LABELS[-1])]
    assert scores([rare], [[Arc(1, LABELS[20]), Arc(2, LABELS[15])]])["las_macro_f1"] == 100
    assert scores([rare], [[Arc(1, "VP_SBJ"), Arc(2, "XX")]])["las_micro_f1"] == 0
    with pytest.raises(ValueError, match="zip"):
        scores([rare], [rare[:1]])


def official(gold: Sequence[Sequence[Arc]], predicted: Sequence[Sequence[Arc]]) -> dict[str, float]:
    """Computes the official scores with scikit-learn."""
    y = [arc for sentence in gold for arc in sentence]
    z = [arc for sentence in predicted for arc in sentence]

    def number(label: str) -> int:
        index = LABELS.index(label) if label in LABELS else -2
        return -3 if index >= 15 else index

    labels = [number(arc.label) for arc in y], [number(arc.label) for arc in z]
    for i, (g, p) in enumerate(zip(y, z, strict=True)):
        if g.head != p.head:
            labels[1][i] = -2
    heads = [arc.head for arc in y], [arc.head for arc in z]
    return {
        f"{name}_{average}_f1": 100 * f1_score(*sides, average=average, zero_division=0)
        for name, sides in (("uas", heads), ("las", labels))
        for average in ("macro", "micro")
    }


ARC = st.builds(Arc, st.integers(0, 3), st.sampled_from(["NP", "VP", *LABELS[13:18]]))
GUESS = ARC | st.builds(Arc, st.integers(0, 5), st.sampled_from(["XX", "NP"])) | st.just(MISSING)


@given(st.lists(st.lists(st.tuples(ARC, ARC | GUESS), min_size=1), min_size=1))
def test_the_score_agrees_with_scikit_learn(pairs: list[list[tuple[Arc, Arc]]]) -> None:
    gold = [[g for g, _ in sentence] for sentence in pairs]
    predicted = [[p for _, p in sentence] for sentence in pairs]
    assert scores(gold, predicted) == pytest.approx(official(gold, predicted))
    labels = arc_label_scores(gold, predicted)
    mean = sum(label.f1 for label in labels) / len(labels)
    assert mean == pytest.approx(scores(gold, predicted)["las_macro_f1"])
    assert sum(label.gold for label in labels) == len([*chain.from_iterable(gold)])


def test_labels_are_scored_by_the_classes_that_count() -> None:
    gold = [[Arc(0, "NP"), Arc(1, "VP"), Arc(1, LABELS[15]), Arc(1, LABELS[20])]]
    guess = [[Arc(0, "NP"), Arc(3, "VP"), Arc(1, LABELS[30]), Arc(1, "NP")]]
    assert arc_label_scores(gold, guess) == [
        ("NP", 1, 2, pytest.approx(200 / 3)),
        ("VP", 1, 0, 0),
        ("rare labels", 2, 1, pytest.approx(200 / 3)),
        ("wrong head or label", 0, 1, 0),
    ]


# --- the reader ----------------------------------------------------------------------------------


def contents(found: Sequence[Example]) -> list[tuple[str, str, tuple[Arc, ...]]]:
    return [(e.inputs["sentence"], e.inputs["words"], e.gold) for e in found]


def test_an_example_knows_its_name_and_place(tmp_path: Path, examples: list[Example]) -> None:
    path = tmp_path / "dp.tsv"
    assert [(e.id, e.place) for e in examples] == [("one", f"{path}:4"), ("two", f"{path}:9")]
    assert tuple(example.gold for example in examples) == GOLD
    assert tuple(examples[0].inputs) == dp.input_fields


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeff" + FILE, id="BOM"),
        pytest.param(FILE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(FILE.replace("VP\n", "VP\r\n"), id="mixed line ends"),
        pytest.param(FILE.rstrip("\n"), id="no last line end"),
        pytest.param("\n" + FILE.replace("\n\n", "\n\t\n\r\n\n"), id="many blank lines"),
        pytest.param(FILE.replace("## one", "## 끝\n\n## one"), id="head of its own"),
    ],
)
def test_harmless_variants_read_the_same(
    tmp_path: Path, examples: list[Example], content: str
) -> None:
    assert contents(dp.read(write(tmp_path, content))) == contents(examples)


def test_without_comments_the_sentence_is_its_words(tmp_path: Path) -> None:
    path = write(tmp_path, re.sub("(?m)^##.*\n", "", FILE))
    found = dp.read(path)
    assert [e.inputs["sentence"] for e in found] == ["보라는 <새/길:▁>을 걷는다.", "벌써 100%"]
    assert [e.id for e in found] == ["1", "5"]


def test_parquet_reads_as_the_table_does(tmp_path: Path, examples: list[Example]) -> None:
    rows = [
        {
            "sentence": e.inputs["sentence"],
            "index": list(range(1, len(e.gold) + 1)),
            "word_form": [line.split("\t")[0] for line in e.inputs["words"].split("\n")],
            "lemma": [line.split("\t")[1] for line in e.inputs["words"].split("\n")],
            "pos": [line.split("\t")[2] for line in e.inputs["words"].split("\n")],
            "head": [arc.head for arc in e.gold],
            "deprel": [arc.label for arc in e.gold],
        }
        for e in examples
    ]
    path = tmp_path / "dp.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert contents(dp.read(path)) == contents(examples)

    for wrong, problem in (
        (rows[0] | {"head": [0]}, "not the columns of KLUE-DP"),
        (rows[0] | {"deprel": ["NP", "XX", "VP"]}, "unknown label 'XX'"),
        ({"sentence": "가"}, "not the columns of KLUE-DP"),
        (rows[0] | {"sentence": 5}, "not the columns of KLUE-DP"),
        (
            {name: value if name == "sentence" else [] for name, value in rows[0].items()},
            "not the columns of KLUE-DP",
        ),
    ):
        parquet.write_table(pyarrow.Table.from_pylist([wrong]), path)
        with pytest.raises(InputError, match=f"parquet:1: {problem}"):
            dp.read(path)


TWO = "1\t가\t가\tNNG\t0\tNP\n\n"  # a good sentence first, so that the line of the next is 3


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "no sentence here"),
        ("## 문장 구분자 : \\n\\n\n", 1, "no sentence here"),
        (TWO + "1\t나\t나\tNNG\t0\n", 3, "5 column(s); expected 6"),
        (TWO + "1\t나\t나\tNNG\t0\tNP\t\n", 3, "7 column(s); expected 6"),
        (TWO + "나\n", 3, "1 column(s); expected 6"),
        (TWO + "1\t나\t나\tNNG\t0\tN", 3, "unknown label 'N'; expected one of NP NP_AJT "),
        (TWO + "1\t나\t나\tNNG\tx\tNP\n", 3, "head 'x'; expected a number from 0 to 1"),
        (TWO + "1\t나\t나\tNNG\t2\tNP\n", 3, "head '2'; expected a number from 0 to 1"),
        (TWO + "1\t나\t나\tNNG\t0\tNP\n1\t나\t나\tNNG\t0\tNP\n", 4, "index '1'; expected 2"),
        (TWO + "1\t\t나\tNNG\t0\tNP\n", 3, "the word is empty"),
        (TWO + "1\t나\t나\tNNG\t0\tNP\n## two\t나\n", 4, "comment inside a sentence"),
        (TWO.encode() + "1\t나".encode("cp949"), 3, "CP949, but expected UTF-8"),
    ],
)
def test_bad_input_names_file_line_and_problem(
    tmp_path: Path, content: str | bytes, line: int, problem: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        dp.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: {problem}")
    assert "expected" in message
    assert len(message.splitlines()) == 1


def test_a_file_cut_off_between_rows_is_refused(tmp_path: Path) -> None:
    lines = FILE.rstrip().split("\n")
    path = write(tmp_path, "\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match="the file ends here; expected the rest of '벌써 100%'"):
        dp.read(path)
