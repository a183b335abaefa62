import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from kebyt5.errors import InputError
from kebyt5.tasks import Example
from kebyt5.tasks.metrics.sts import paraphrase_f1, pearson
from kebyt5.tasks.sts import STS

sts = STS()
PAIR = {"sentence1": "비가 온다.", "sentence2": "비 온다 :)"}


def row(score: object) -> dict:
    return {"guid": "a", **PAIR, "labels": {"label": score, "real-label": 0.1, "binary-label": 1}}


def test_formats_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "sts.json"
    path.write_text(json.dumps([row(3.7), row(5) | {"guid": "b"}]), encoding="utf-8")
    first, second = sts.read(path)
    assert sts.input_text(first) == "task: STS\n\n문장1: 비가 온다.\n문장2: 비 온다 :)\n"
    assert [sts.target_text(example) for example in (first, second)] == ["3.7", "5.0"]
    assert [first.id, first.gold, first.place] == ["a", 3.7, f"{path}:1"]

    tsv = tmp_path / "sts.tsv"
    line = "main-news\tx\t2014\t0001\t3.667\t비가 온다.\t비 온다 :)"
    tsv.write_text(f"genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n{line}", "utf-8")
    (example,) = sts.read(tsv)
    assert (example.inputs, example.gold, sts.target_text(example)) == (PAIR, 3.7, "3.7")

    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    parquet = tmp_path / "sts.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row(3.7)]), parquet)
    (example,) = sts.read(parquet)
    assert (example.inputs, example.gold) == (PAIR, 3.7)


@pytest.mark.parametrize("score", ["x", -0.1, 5.1, None, float("nan"), []])
def test_a_bad_score_names_file_and_line(tmp_path: Path, score: object) -> None:
    path = tmp_path / "sts.json"
    path.write_text(f"[{json.dumps(row(1.0))},\n{json.dumps(row(score))}]", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        sts.read(path)
    assert str(caught.value) == f"{path}:2: score {str(score)!r}; expected a number from 0 to 5"


@pytest.mark.parametrize("pattern", ["klue/klue-sts-v1.1/*.json", "kor-nlu-datasets/sts-*.tsv"])
def test_every_real_target_reads_back_as_its_gold(klue_data: Path, pattern: str) -> None:
    for path in sorted(klue_data.glob(pattern)):
        examples = sts.read(path)
        targets = [sts.target_text(example) for example in examples]
        for example, target in zip(examples, targets, strict=True):
            assert sts.parse(target, example) == (example.gold, None)
            assert target in sts.labels
        result = sts.score(examples, targets)
        assert result == pytest.approx({"pearson": 100, "f1": 100, "unparsed": 0})


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("3.7", 3.7, None),
        ("5.0", 5.0, None),
        ("3.7점", 3.7, "repaired"),
        (" 3.75", 3.75, "repaired"),
        ("4", 4.0, "repaired"),
        (".5", 0.5, "repaired"),
        ("-1", 0.0, "repaired"),
        ("값 -3.7", 0.0, "repaired"),
        ("값-3.7", 3.7, "repaired"),
        ("12.5", 5.0, "repaired"),
        ("9" * 5000, 5.0, "repaired"),
        ("٣.٧", 0.0, "no number"),
        ("비슷함", 0.0, "no number"),
        ("", 0.0, "empty"),
    ],
)
def test_a_text_is_read_as_a_score(text: str, value: float, reason: str | None) -> None:
    assert sts.parse(text, sts.example(**PAIR)) == (value, reason)


@given(st.text() | st.text("0123456789.-e ", max_size=8))
def test_any_text_is_read_as_a_score(text: str) -> None:
    example = sts.example(**PAIR)
    parsed = sts.parse(text, example)
    assert 0 <= sts.to_json(parsed, example) <= 5
    assert (parsed.reason is None) == (text in sts.labels)
    assert sts.show(parsed, example)


def test_the_score_counts_what_could_not_be_read() -> None:
    examples = [Example("", PAIR, gold) for gold in (1.0, 3.0, 5.0)]
    result = sts.score(examples, ["2.0", "3.0점", "4.0"])
    assert result == pytest.approx({"pearson": 100, "f1": 100, "unparsed": 1})
    # 3.0 is on the side of the paraphrases: one of two is found, nothing else is.
    assert sts.score(examples, ["1.0", "2.9", "3.0"])["f1"] == pytest.approx(200 / 3)
    assert sts.baseline(examples, examples) == ["3.0"] * 3
    assert sts.score(examples, ["3.0"] * 3)["pearson"] == 0
    with pytest.raises(ValueError, match="no gold for the sentence1"):
        sts.score([sts.example(**PAIR)], ["1.0"])


TENTHS = st.integers(0, 50).map(lambda tenths: tenths / 10)


@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=2))
def test_scores_agree_with_scipy_and_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    gold, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    f1 = f1_score(gold >= 3, predicted >= 3, zero_division=0)
    assert paraphrase_f1(gold, predicted) == pytest.approx(100 * f1)
    assume(len(set(gold)) > 1 and len(set(predicted)) > 1)
    assert pearson(gold, predicted) == pytest.approx(100 * pearsonr(gold, predicted)[0])


def test_scores_of_nothing_and_of_unlike_lengths() -> None:
    assert [pearson([], []), paraphrase_f1([], [])] == [0, 0]
    for score in (pearson, paraphrase_f1):
        with pytest.raises(ValueError, match=r"1 gold scores, but 0 predicted ones|zip"):
            score([1.0], [])
