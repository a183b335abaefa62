import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from sklearn.metrics import accuracy_score, f1_score

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.tasks import Example
from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.metrics.classification import accuracy, label_scores, macro_f1, micro_f1
from kebyt5.tasks.nli import NLI
from kebyt5.tasks.nsmc import NSMC
from kebyt5.tasks.pawsx import PAWSX
from kebyt5.tasks.relation import RE
from kebyt5.tasks.ynat import YNAT

ynat, nli, nsmc, pawsx = YNAT(), NLI(), NSMC(), PAWSX()
TASKS: tuple[LabelTask, ...] = (ynat, nli, nsmc, pawsx, RE())

Rows = list[dict[str, str | int]]


def save(folder: Path, name: str, rows: Rows) -> Path:
    """Writes rows in the format of the name's extension."""
    path = folder / name
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    else:
        lines = [list(rows[0]), *(row.values() for row in rows)]
        path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), "utf-8")
    return path


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name", "row", "text", "target"),
    [
        (
            ynat,
            "ynat.json",
            {"guid": "a", "title": "새 <길>: 3월\t▁ 열려", "label": "생활문화", "url": "x"},
            "KLUE YNAT task: 새 <길>: 3월\t▁ 열려\n",
            "생활문화",
        ),
        (ynat, "a.parquet", {"guid": "a", "title": "길", "label": 0}, None, "IT과학"),
        (ynat, "a.parquet", {"guid": "a", "title": "길", "label": 6}, None, "정치"),
        (
            nli,
            "nli.json",
            {"guid": "a", "premise": "비가 온다.", "hypothesis": "맑다.", "gold_label": "neutral"},
            "NLI, 전제: 비가 온다.\n가설: 맑다.\n",
            "중립",
        ),
        (
            nli,
            "kornli.tsv",
            {"sentence1": '"비"가 온다.', "sentence2": "맑다.", "gold_label": "contradiction"},
            'NLI, 전제: "비"가 온다.\n가설: 맑다.\n',
            "모순",
        ),
        (nli, "a.parquet", {"premise": "비.", "hypothesis": "비!", "label": 0}, None, "함의"),
        (
            nsmc,
            "ratings.txt",
            {"id": "a", "document": " 또 볼래요 :/ ", "label": 1},
            "nsmc sentiment classification:  또 볼래요 :/ ",
            "positive",
        ),
        (
            nsmc,
            "ratings.txt",
            {"id": "a", "document": "", "label": 0},
            "nsmc sentiment classification: ",
            "negative",
        ),
        (
            pawsx,
            "dev_2k.tsv",
            {"id": "a", "sentence1": "개가 물었다", "sentence2": "개를 물었다", "label": 0},
            "paraphrase detection task:\n\nsentence-1: 개가 물었다\nsentence-2: 개를 물었다\n",
            "different",
        ),
        (
            pawsx,
            "a.parquet",
            {"id": 7, "sentence1": "물", "sentence2": "물", "label": 1},
            None,
            "paraphrase",
        ),
    ],
)
def test_formats_and_texts_are_the_published_ones(
    tmp_path: Path, task: LabelTask, name: str, row: dict, text: str | None, target: str
) -> None:
    path = save(tmp_path, name, [row])
    (example,) = task.read(path)
    assert task.input_text(example) == (text or task.input_text(example))
    assert task.target_text(example) == example.gold == target
    assert task.parse(target, example) == (target, None)
    assert tuple(example.inputs) == task.input_fields
    assert example.place.startswith(f"{path}:")
    assert example.id == str(row.get("guid", row.get("id", 1)))


@pytest.mark.parametrize("value", ["", "2", "-1", "positive ", "참", "١", "99999999"])
def test_an_unknown_label_names_file_line_and_the_known_ones(tmp_path: Path, value: str) -> None:
    good = {"id": 1, "document": "좋다", "label": "1"}
    path = save(tmp_path, "ratings.txt", [good, {**good, "label": value}])
    with pytest.raises(InputError) as caught:
        nsmc.read(path)
    assert str(caught.value) == (f"{path}:3: unknown label {value!r}; expected negative, positive")


def test_a_label_in_decomposed_letters_is_known(tmp_path: Path) -> None:
    row = {"guid": "0", "title": "소식", "label": normalize("NFD", "경제")}
    assert ynat.read(save(tmp_path, "ynat.json", [row]))[0].gold == "경제"


def test_an_unknown_label_in_json_and_a_missing_column(tmp_path: Path) -> None:
    row = {"premise": "가", "hypothesis": "나", "gold_label": "entailed"}
    path = save(tmp_path, "nli.json", [row])
    problem = "unknown label 'entailed'; expected entailment, neutral, contradiction"
    with pytest.raises(InputError, match=f":2: {problem}"):
        nli.read(path)
    for wrong in (True, None, 1.0, [], -1, 3):
        with pytest.raises(InputError, match=":2: unknown label"):
            nli.read(save(tmp_path, "nli.json", [{**row, "gold_label": wrong}]))
    with pytest.raises(InputError, match=":2: no 'title' here; expected it, found premise, hyp"):
        ynat.read(path)


@pytest.mark.parametrize(
    ("task", "pattern"),
    [
        (ynat, "klue/ynat-v1.1/*.json"),
        (nli, "klue/klue-nli-v1.1/*.json"),
        (nli, "kor-nlu-datasets/xnli*.tsv"),
        (nsmc, "nsmc_rebuilt/*.txt"),
        (RE(), "klue/klue-re-v1.1/klue*.json"),
    ],
)
def test_every_real_target_reads_back_as_its_gold(
    klue_data: Path, task: LabelTask, pattern: str
) -> None:
    for path in sorted(klue_data.glob(pattern)):
        examples = task.read(path)
        targets = [task.target_text(example) for example in examples]
        for example, target in zip(examples, targets, strict=True):
            assert task.parse(target, example) == (example.gold, None)
        result = task.score(examples, targets)
        assert result.pop("unparsed") == 0
        assert set(result.values()) == {100.0}


# --- parsing and scores --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "text", "label", "reason"),
    [
        (nsmc, "positive", "positive", None),
        (nsmc, "positive\n", "positive", "repaired"),
        (nsmc, "postive", "positive", "repaired"),
        (nsmc, "The review is negative.", "negative", "repaired"),
        (ynat, "생활 문화", "생활문화", "repaired"),
        (ynat, "IT/과학", "IT과학", "repaired"),
        (nli, "모슨", "모순", "repaired"),
        (ynat, normalize("NFD", "정치"), "정치", "repaired"),
        (ynat, normalize("NFD", "정 치"), "정치", "repaired"),
        (ynat, "3", "생활문화", None),
        # What other programs write of a label.
        (ynat, "3 ", "생활문화", "repaired"),
        (nli, "entailment ", "함의", "repaired"),
        (nli, "Entailment", "함의", "repaired"),
        (nli, "CONTRADICTION\n", "모순", "repaired"),
        # Which is not to say that any Latin letters resemble it.
        (nli, "I don't know", "", "resembles no label"),
        (ynat, "Politics", "", "resembles no label"),
        (nsmc, "1\n", "positive", "repaired"),
        # What resembles no label is not taken for one.
        (nli, "", "", "empty"),
        (nli, " \n", "", "empty"),
        (nli, "zzz", "", "resembles no label"),
        (RE(), "per:employees_of", "per:employee_of", "repaired"),
        (RE(), "org:members", "org:members", None),
    ],
)
def test_a_text_that_is_no_label_becomes_the_nearest(
    task: LabelTask, text: str, label: str, reason: str | None
) -> None:
    assert task.parse(text, task.example(**dict.fromkeys(task.input_fields, ""))) == (label, reason)


@given(st.text(st.characters(codec=None)), st.sampled_from(TASKS))
def test_any_text_is_read_as_a_label_or_none(text: str, task: LabelTask) -> None:
    example = task.example(**dict.fromkeys(task.input_fields, text))
    parsed = task.parse(text, example)
    assert task.to_json(parsed, example) in (*task.labels, "")
    assert task.show(parsed, example) in (*task.labels, "")
    is_number = text.isascii() and text.isdecimal() and len(text) < 5
    is_known = text in task.labels or text in task.names
    is_label = is_known or (is_number and int(text) < len(task.labels))
    assert (parsed.reason is None) == is_label


def made(task: LabelTask, *gold: str) -> list[Example]:
    inputs = dict.fromkeys(task.input_fields, "가")
    return [Example("", inputs, label) for label in gold]


def test_scores_are_the_official_ones() -> None:
    # 경제: 1 of 2 wanted, 1 of 1 given; 사회: 1 of 1 wanted, 1 of 2 given; 세계 is only given.
    examples = made(ynat, "경제", "경제", "사회", "정치")
    result = ynat.score(examples, ["경제", "사회", "사회", "세계!"])
    assert result == pytest.approx(
        {"macro_f1": 100 * (2 / 3 + 2 / 3 + 0 + 0) / 4, "accuracy": 50, "unparsed": 1}
    )
    for task in (nli, nsmc, pawsx):
        first, second, *_ = task.labels
        result = task.score(made(task, first, second, second), [first, first, second + "."])
        assert result == pytest.approx({"accuracy": 200 / 3, "unparsed": 1})
        assert task.main_score in result


def test_an_answer_that_is_no_label_is_wrong_but_no_class_of_its_own() -> None:
    examples = made(ynat, *ynat.labels * 10)
    texts = [*ynat.labels * 10]
    texts[0] = "@@@"
    one_of_ten = 100 * 2 * 9 / 19
    result = ynat.score(examples, texts)
    assert result["macro_f1"] == pytest.approx((600 + one_of_ten) / 7)


def test_the_likeliest_label_is_the_answer() -> None:
    examples = made(nsmc, "positive", "negative", "negative")
    likelihoods = np.array([[-9.0, -2.0], [-1.0, -3.0], [-5.0, -4.0]])
    assert nsmc.score_likelihoods(examples, likelihoods) == pytest.approx(
        {"accuracy": 200 / 3, "unparsed": 0}
    )
    with pytest.raises(ValueError, match=r"shape \(2, 2\), not \(3, 2\)"):
        nsmc.score_likelihoods(examples, likelihoods[:2])


def test_the_baseline_is_the_most_frequent_label() -> None:
    train = made(ynat, "경제", "사회", "사회")
    assert ynat.baseline(train, train[:2]) == ["사회", "사회"]


def test_scores_want_gold_and_as_many_texts() -> None:
    with pytest.raises(ValueError, match="no gold for the document"):
        nsmc.score([nsmc.example(document="좋다")], ["positive"])
    with pytest.raises(ValueError, match="zip"):
        nsmc.score(made(nsmc, "positive"), [])


def test_labels_fit_into_the_bound() -> None:
    for task in TASKS:
        (example,) = made(task, task.labels[0])
        longest = max(len(label.encode()) for label in task.labels)
        assert longest < task.max_target_bytes(example) < longest + 16


CLASSES = st.lists(st.tuples(st.integers(-3, 4), st.integers(-3, 4)), min_size=1)


@given(CLASSES)
def test_scores_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    some = [0, 1, 4]
    macro = f1_score(gold, predicted, average="macro", zero_division=0)
    micro = f1_score(gold, predicted, average="micro", labels=some, zero_division=0)
    assert accuracy(gold, predicted) == pytest.approx(100 * accuracy_score(gold, predicted))
    assert macro_f1(gold, predicted) == pytest.approx(100 * macro)
    assert micro_f1(gold, predicted, some) == pytest.approx(100 * micro)
    names = {number: f"class {number}" for number in range(4, -4, -1)}
    each = label_scores(gold, predicted, names)
    seen = [number for number in names if number in {*gold, *predicted}]
    expected = f1_score(gold, predicted, average=None, labels=seen, zero_division=0)
    assert [score.label for score in each] == [names[number] for number in seen]
    assert [score.f1 for score in each] == pytest.approx(100 * expected)
    assert [score.gold for score in each] == [gold.count(number) for number in seen]
    assert [score.predicted for score in each] == [predicted.count(number) for number in seen]


def test_scores_of_nothing_are_zero() -> None:
    assert [accuracy([], []), macro_f1([], []), micro_f1([], [], [1])] == [0, 0, 0]


def test_other_names_of_a_label_are_read_as_it() -> None:
    example = nli.example(premise="비", hypothesis="눈")
    assert nli.parse("entailment", example) == ("함의", None)
    assert nli.parse("2", example) == ("모순", None)
    assert nli.parse("3", example) == ("", "resembles no label")


def test_of_long_fields_something_of_each_stays() -> None:
    example = nli.example(premise="비" * 200, hypothesis="눈" * 20)
    (short,) = nli.fit(example, 300)
    assert 290 < byte_length(nli.input_text(short)) <= 300
    assert short.inputs["hypothesis"] == "눈" * 20
    assert nli.fit(example, 3000) == [example]
