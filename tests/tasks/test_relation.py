import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, precision_recall_curve

from kebyt5.errors import InputError
from kebyt5.evaluation.noise import add_noise
from kebyt5.tasks import Example
from kebyt5.tasks.metrics.classification import auprc
from kebyt5.tasks.relation import RE, RELATIONS

re_task = RE()

ROW = {
    "guid": "a",
    "sentence": "<보라>는 {제주}의 가수다.",
    "subject_entity": {"word": "보라", "start_idx": 1, "end_idx": 2, "type": "PER"},
    "object_entity": {"word": "{제주}", "start_idx": 5, "end_idx": 8, "type": "LOC"},
    "label": "per:place_of_residence",
}


def test_formats_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "re.json"
    path.write_text(json.dumps([ROW]), encoding="utf-8")
    (example,) = re_task.read(path)
    assert re_task.input_text(example) == (
        "task: RE\n\n### 문장\n<보라>는 {제주}의 가수다.\n### 주어: 보라 (PER)\n"
        "### 목적어: {제주} (LOC)\n"
    )
    assert re_task.target_text(example) == "per:place_of_residence"

    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist([{**ROW, "label": 16}])
    pyarrow.parquet.write_table(table, path.with_suffix(".parquet"))
    (other,) = re_task.read(path.with_suffix(".parquet"))
    assert (other.id, other.inputs, other.gold) == (example.id, example.inputs, example.gold)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"subject_entity": "보라"}, "'subject_entity' is 보라; expected an object"),
        ({"object_entity": {"word": "제주"}}, "no 'type' here"),
        ({"label": "per:friend"}, "unknown label 'per:friend'; expected no_relation, org:diss"),
        ({"label": 30}, "unknown label '30'"),
    ],
)
def test_bad_records_name_file_and_line(tmp_path: Path, change: dict, problem: str) -> None:
    path = tmp_path / "re.json"
    path.write_text(f"[{json.dumps(ROW)},\n{json.dumps(ROW | change)}]", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        re_task.read(path)
    assert str(caught.value).startswith(f"{path}:2: {problem}")


def test_the_relations_are_the_official_ones_in_their_order(klue_data: Path) -> None:
    path = klue_data / "klue/klue-re-v1.1/relation_list.json"
    assert json.loads(path.read_text(encoding="utf-8"))["relations"] == list(RELATIONS)


def made(*labels: str) -> list[Example]:
    return [Example("", dict.fromkeys(re_task.input_fields, "가"), label) for label in labels]


def test_noise_damages_an_entity_as_where_it_is_mentioned(klue_data: Path) -> None:
    examples = re_task.read(klue_data / "klue/klue-re-v1.1/klue-re-v1.1_dev.json")[:200]
    noise = partial(add_noise, rate=0.2, seed=1)
    damaged = [re_task.damage(example, noise).inputs for example in examples]
    assert sum(d != e.inputs for d, e in zip(damaged, examples, strict=True)) > 190
    together = [d["subject"] in d["sentence"] and d["object"] in d["sentence"] for d in damaged]
    assert sum(together) >= 195  # in the others one entity occurs within the other alone


def test_micro_f1_leaves_no_relation_out() -> None:
    gold = made("no_relation", "no_relation", "per:title", "per:title", "org:founded")
    texts = ["no_relation", "per:title", "per:title", "no_relation", "org:founded"]
    # 2 of 3 wanted, 2 of 3 given.
    assert re_task.score(gold, texts) == {"micro_f1": pytest.approx(200 / 3), "unparsed": 0.0}


def test_likelihoods_give_the_area_too() -> None:
    examples = made("no_relation", "per:title", "per:title")
    likelihoods = np.full((3, 30), -np.inf)
    likelihoods[:, 0] = [-700.0, -701.0, -900.0]
    likelihoods[:, -1] = [-702.0, -700.0, -901.0]
    result = re_task.score_likelihoods(examples, likelihoods)
    assert result["micro_f1"] == pytest.approx(200 / 3)
    # The probabilities of no_relation are 0.88, 0.27, 0.73: the area is 1; of per:title it is 1.
    assert result["auprc_present"] == pytest.approx(100)
    assert result["auprc"] == pytest.approx(100 * (2 * 1 + 28 * 0.5) / 30)


SCORES = st.lists(
    st.tuples(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5]), min_size=4, max_size=4),
              st.integers(0, 3)),
    min_size=1,
    max_size=30,
)  # fmt: skip


@given(SCORES)
def test_the_area_agrees_with_scikit_learn(pairs: list[tuple[list[float], int]]) -> None:
    scores, gold = np.array([s for s, _ in pairs]), np.array([g for _, g in pairs])
    areas = []
    for c in range(4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class without examples
            precision, recall, _ = precision_recall_curve(gold == c, scores[:, c])
        areas.append(auc(recall, precision))
    assert auprc(scores, gold) == pytest.approx(100 * np.mean(areas))
    present = [areas[c] for c in set(gold.tolist())]
    assert auprc(scores, gold, only_present=True) == pytest.approx(100 * np.mean(present))


def test_the_area_wants_shapes_that_agree() -> None:
    assert auprc(np.zeros((0, 3)), []) == 0
    with pytest.raises(ValueError, match=r"\(2, 3\) do not fit 1 gold"):
        auprc(np.zeros((2, 3)), [1])
