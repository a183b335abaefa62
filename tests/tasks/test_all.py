"""Properties of all tasks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.errors import InputError
from kebyt5.tasks import TASKS, get_task
from kebyt5.tasks.squad import Answers

REAL_FILES = {
    "ynat": "klue/ynat-v1.1/ynat-v1.1_{}.json",
    "ner": "klue/klue-ner-v1.1/klue-ner-v1.1_{}.tsv",
    "dp": "klue/klue-dp-v1.1/klue-dp-v1.1_{}.tsv",
    "mrc": "klue/klue-mrc-v1.1/klue-mrc-v1.1_{}.json",
    "wos": "klue/wos-v1.1/wos-v1.1_{}.json",
    "re": "klue/klue-re-v1.1/klue-re-v1.1_{}.json",
    "nli": "klue/klue-nli-v1.1/klue-nli-v1.1_{}.json",
    "sts": "klue/klue-sts-v1.1/klue-sts-v1.1_{}.json",
    "nsmc": "nsmc_rebuilt/ratings_{}.txt",
}


OTHER_FILES = [
    ("nli", "kor-nlu-datasets/xnli.dev.ko.tsv"),
    ("sts", "kor-nlu-datasets/sts-train.tsv"),
    ("sts", "kor-nlu-datasets/sts-dev.tsv"),
]


def is_gold(value: object, gold: object) -> bool:
    """Of several right answers the target is the first."""
    return value == gold.texts[0] if isinstance(gold, Answers) else value == gold


@pytest.mark.parametrize(("name", "file"), OTHER_FILES)
def test_other_published_formats_are_read(klue_data: Path, name: str, file: str):
    task = get_task(name)
    examples = list(task.read(klue_data / file))
    assert len(examples) > 1000
    for example in examples:
        assert is_gold(task.parse(task.target_text(example), example).value, example.gold)


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize("name", REAL_FILES)
def test_what_is_written_is_read_back(klue_data: Path, name: str, split: str):
    task = get_task(name)
    examples = list(task.read(klue_data / REAL_FILES[name].format(split)))
    assert len({example.id for example in examples}) == len(examples)
    texts = [task.target_text(example) for example in examples]
    for example, text in zip(examples, texts, strict=True):
        assert len(text.encode()) <= task.max_target_bytes(example), example.place
        value, reason = task.parse(text, example)
        assert reason is None, example.place
        assert is_gold(value, example.gold), example.place
        assert not task.labels or text in task.labels
        gold = task.gold_of_target(text, example)
        assert gold == (Answers(example.gold.texts[:1]) if name == "mrc" else example.gold)
    scores = task.score(examples, texts)
    assert scores.pop("unparsed") == 0
    scores = {key: value for key, value in scores.items() if key != "auprc"}
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0)), name


@given(st.data())
def test_any_text_is_read_without_an_error(data):
    task = get_task(data.draw(st.sampled_from(list(TASKS))))
    inputs = dict.fromkeys(task.input_fields, "서울 ㅋㅋ < : > ▁ =")
    if task.name == "dp":
        inputs["words"] = "서울\t서울\tNNP\n간다\t가 ㄴ다\tVV+EF"
    example = task.example(**inputs)
    parsed = task.parse(data.draw(st.text()), example)
    task.to_json(parsed, example)
    task.show(parsed, example)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("ynta", "ynat"), ("NER", "ner"), ("KLUE-DP", "dp"), ("tc", "ynat"), ("kornli", "nli"),
     ("KLUE_MRC", "mrc"), ("KorQuAD", "korquad")],
)  # fmt: skip
def test_an_unknown_name_suggests_the_nearest(name: str, nearest: str):
    with pytest.raises(InputError, match=f"did you mean '{nearest}'"):
        get_task(name)


@pytest.mark.parametrize("name", TASKS)
def test_missing_and_unreadable_files_are_refused(name: str, tmp_path: Path):
    task = get_task(name)
    suffix = ".tsv" if name in ("ner", "dp", "nsmc", "pawsx", "seq2seq") else ".json"
    with pytest.raises(InputError, match="nowhere"):
        list(task.read(tmp_path / f"nowhere{suffix}"))
    path = tmp_path / f"data{suffix}"
    for content in (b"", b"\n\n", b"\xff\xfe\n", b"[1, 2", b"one\ntwo\tthree\tfour\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="data"):
            list(task.read(path))
