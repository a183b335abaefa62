"""Predictions respect the limits and are written as documented."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import Windows, predict, require_fit
from kebyt5.evaluation.predictions import write_predictions
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.tasks import Example, get_task


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    for task in ("ner.NER", "mrc.MRC"):
        monkeypatch.setattr(f"kebyt5.tasks.{task}.max_target_bytes", lambda self, example: 12)


def test_predictions_keep_the_order_of_the_examples(tiny_model, dev_file, tmp_path):
    task = get_task("ner")
    examples = task.read(dev_file)
    options = PredictOptions(batch_size=4)
    predictions = predict(tiny_model(), task, examples, options)
    assert len(predictions.texts) == 6
    assert predictions.truncated == 0
    backwards = predict(tiny_model(), task, examples[::-1], options)
    assert predictions.texts == backwards.texts[::-1]

    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, predictions)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record["id"] for record in records] == [example.id for example in examples]
    assert [record["text"] for record in records] == predictions.texts
    assert records[0]["target"] == task.target_text(examples[0])


def test_a_text_over_its_limit_is_refused_with_its_place():
    require_fit("가나다", 9, "here")
    with pytest.raises(InputError, match=r"here: 9 bytes, over the limit of 8; shorten it"):
        require_fit("가나다", 8, "here")


@pytest.mark.parametrize("decoding", ["likelihood", "generation"])
def test_an_answer_is_always_a_label(tiny_model, tmp_path, decoding):
    task = get_task("ynat")
    examples = [task.example(title=title) for title in ("새 전화기", "한 골 차 승리", "")]
    options = PredictOptions(decoding=decoding, constrain=True, batch_size=9)
    model = tiny_model()
    predictions = predict(model, task, examples, options)
    assert set(predictions.texts) <= set(task.labels)
    # Greedy search may take another path than to the likeliest label, but the scores say which
    # of them were compared.
    assert (predictions.log_likelihoods is None) == (decoding == "generation")
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, predictions)
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        found = json.loads(line).get("log_likelihoods")
        if decoding == "likelihood":
            assert list(found) == list(task.labels)
            assert list(found.values()) == pytest.approx(predictions.log_likelihoods[row], abs=1e-4)
        else:
            assert found is None
    free = PredictOptions(decoding="generation")
    assert not set(predict(model, task, examples, free).texts) & set(task.labels)


def test_a_task_says_what_may_be_generated(tiny_model, dev_file, tmp_path, monkeypatch):
    monkeypatch.undo()  # whole answers
    task = get_task("ner")
    examples = task.read(dev_file)[:3]
    model = tiny_model()
    free = predict(model, task, examples)
    inputs = [task.input_text(example) for example in examples]
    limits = [task.max_target_bytes(example) for example in examples]
    assert free.texts == generate_texts(model, inputs, limits).texts  # as without any constraint
    assert free.score(task)["unparsed"] == 3  # a random model copies nothing

    bound = predict(model, task, examples, PredictOptions(constrain=True))
    assert [task.parse(t, e).reason for e, t in zip(examples, bound.texts, strict=True)] == [
        None
    ] * 3
    for found, constrained in ((free, False), (bound, True)):
        counted = found.generation()
        assert counted["constrained"] is constrained
        assert counted["bytes"] == sum(each.bytes for each in found.statistics)
        assert counted["bytes_per_pass"] == counted["bytes"] / counted["passes"]
        assert found.select([1]).statistics == [found.statistics[1]]
    # The end of sequence comes on top.
    assert [each.bytes for each in bound.statistics] == [len(t.encode()) + 1 for t in bound.texts]
    assert free.generation()["forced"] == 0 < bound.generation()["forced"]
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, task, bound)
    for line, each in zip(
        path.read_text(encoding="utf-8").splitlines(), bound.statistics, strict=True
    ):
        assert json.loads(line)["generation"] == vars(each)

    beams = predict(model, task, examples, PredictOptions(constrain=True, num_beams=2))
    assert beams.statistics is None
    assert beams.generation() == {"constrained": True}
    assert beams.score(task)["unparsed"] == 0


def test_of_the_windows_of_a_long_context_the_likeliest_answer_counts(tiny_model, monkeypatch):
    task = get_task("mrc")
    long = task.example(question="무엇을?", context="보라는 제주에서 귤을 땄다. " * 20)
    short = task.example(question="무엇을?", context="귤을 땄다.")
    options = PredictOptions(max_input_bytes=300, stride=64)
    model = tiny_model()
    asked = {}

    def choose(self, example, texts, log_likelihoods):
        asked[example.inputs["context"]] = (texts, log_likelihoods)
        return texts[-1]

    monkeypatch.setattr("kebyt5.tasks.mrc.MRC.choose", choose)
    predictions = predict(model, task, [long, short], options)
    assert predictions.truncated == 1
    windows = task.fit(long, 300, 64)
    assert len(windows) > 4
    ((texts, found),) = asked.values()
    alone = predict(model, task, windows, options)
    assert texts == list(alone.texts)
    assert predictions.texts[0] == texts[-1]
    assert found.shape == (len(windows), 2)
    for row, part in enumerate(windows):
        likely = log_likelihoods(model, [task.input_text(part)], [[texts[row], *task.rivals]])
        assert found[row] == pytest.approx(likely[0], abs=1e-4)
    with pytest.raises(InputError, match="over the limit of 300"):
        predict(model, task, [long], PredictOptions(max_input_bytes=300, strict=True))


def test_of_the_windows_of_an_example_the_one_surest_of_its_label_counts(monkeypatch):
    monkeypatch.setattr(
        "kebyt5.tasks.nsmc.NSMC.fit", lambda self, example, *_: [example] * int(example.id)
    )
    task = get_task("nsmc")
    examples = [Example(count, {"document": "재밌다"}) for count in ("2", "1", "3")]
    windows = Windows(task, examples)
    assert len(windows.inputs) == len(windows.shown) == 6
    assert windows.truncated == [True, False, True]
    rows = [[-2.0, -1.0], [-0.5, -3.0], [-9.0, -8.0], [-4.0, -5.0], [-4.0, -3.0], [-7.0, -6.0]]
    assert windows.surest(rows).tolist() == [rows[1], rows[2], rows[4]]
    assert Windows(task, []).surest([]).shape == (0, 2)


@pytest.mark.parametrize("name", ["max_input_bytes", "batch_size", "num_beams"])
@pytest.mark.parametrize("value", [0, -1])
def test_options_below_one_are_refused_by_name(name, value):
    option = f"--{name.replace('_', '-')} {value}: has to be 1 or more"
    with pytest.raises(InputError, match=option):
        PredictOptions(**{name: value})
