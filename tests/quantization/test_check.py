"""A model is quantized to int8 and scored before and after."""

import pytest
import torch

import kebyt5
from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.generation import Engine
from kebyt5.models.int8 import Int8Linear
from kebyt5.quantization.check import CALIBRATION, quantize_checked
from kebyt5.tasks import Example, get_task

TITLES = ["새 전화기", "한 골 차 승리", "총선 앞두고"]


@pytest.fixture
def headlines():
    """Of one label each, more than channels are evened out on."""
    task = get_task("ynat")
    return task, [
        Example(f"{n}", {"title": f"{title} {n}"}, label)
        for n in range(CALIBRATION // 3 + 1)
        for title, label in zip(TITLES, task.labels, strict=False)
    ]


def test_says_how_the_scores_were_and_are(tiny_model, headlines):
    task, examples = headlines
    model = tiny_model().train()
    norm = model.decoder.block[0].layer[0].layer_norm.weight.clone()
    check = quantize_checked(model, task, examples, 100.0)
    assert any(isinstance(module, Int8Linear) for module in model.decoder.modules())
    assert not model.training
    assert not torch.equal(model.decoder.block[0].layer[0].layer_norm.weight, norm)
    assert (check.task, check.main_score, check.examples) == ("ynat", "macro_f1", len(examples))
    assert check.calibrated_on == CALIBRATION < len(examples)
    assert check.generation is None
    assert check.before.keys() == check.after.keys() >= {"macro_f1", "accuracy"}
    before, after = check.before["macro_f1"], check.after["macro_f1"]
    assert str(check) == f"macro_f1 {before:.2f} before, {after:.2f} after"


def outlier():
    """A model with a weight that meets only zeros, but takes the whole int8 range for itself."""
    model = kebyt5.load("tiny")
    with torch.no_grad():
        for block in model.decoder.block:
            feed_forward = block.layer[-1]
            feed_forward.layer_norm.weight[0] = 0
            feed_forward.DenseReluDense.wi_0.weight[:, 0] = 1e4
            feed_forward.DenseReluDense.wi_1.weight[:, 0] = 1e4
    return model


def test_a_larger_drop_is_refused():
    task, texts = get_task("seq2seq"), ["서울에 산다.", "김하늘 씨가 부산에 왔다."]
    said = Engine(outlier()).generate(texts)
    pairs = zip(texts, said, strict=True)
    examples = [Example(text, {"text": text}, each.text) for text, each in pairs]
    options = PredictOptions(constrain=True)
    with pytest.raises(InputError, match=r"tiny: chrf 100\.00 before, .* more than 0\.3 points"):
        quantize_checked(outlier(), task, examples, options=options)
    check = quantize_checked(outlier(), task, examples, 100.0, options)
    assert check.before["chrf"] == 100 > check.after["chrf"] + 0.3
    assert check.generation["constrained"] is True


def test_a_model_that_gives_no_numbers_is_refused(tiny_model, headlines):
    task, examples = headlines
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[5] = float("nan")
    with pytest.raises(InputError, match="likelihoods are not numbers"):
        quantize_checked(model, task, examples[:3], 100.0)


def test_a_score_that_is_no_number_is_refused(tiny_model, headlines, monkeypatch):
    task, examples = headlines
    monkeypatch.setattr(
        type(task), "score_likelihoods", lambda *_: {"macro_f1": float("nan"), "accuracy": 0.0}
    )
    with pytest.raises(InputError, match="macro_f1 nan before, nan after"):
        quantize_checked(tiny_model(), task, examples[:3], 100.0)
