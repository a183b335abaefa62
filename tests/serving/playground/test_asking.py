"""Any model can be asked anything sensible; refusals say clearly what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5Config

from kebyt5 import inspection
from kebyt5.generation.fill import fill
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.playground.asking import (
    FILL,
    MAX_SEEN_INPUT,
    MAX_SEEN_OUTPUT,
    OPTIONAL,
    Refusal,
    ask,
    fields_of,
    look,
    tasks_of,
)
from kebyt5.serving.playground.drawing import draw_answer
from kebyt5.serving.playground.samples import SAMPLES
from kebyt5.serving.playground.wording import message
from kebyt5.tasks import TASKS


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    """An untrained model never ends its answer; a low bound keeps the tests fast."""
    for task in TASKS.values():
        monkeypatch.setattr(task, "max_target_bytes", lambda self, example: 24)
    monkeypatch.setattr(
        "kebyt5.serving.service.fill", lambda engine, text, *_: fill(engine, text, 2, 2, 8)
    )


@pytest.fixture
def served(service_of, tiny_model):
    """A service of an untrained model with GBST."""
    return service_of(tiny_model())


@pytest.fixture
def plain_model():
    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=4, num_heads=4, num_layers=1,
                      tie_word_embeddings=False, decoder_start_token_id=0)  # fmt: skip
    return KEByT5ForConditionalGeneration(config).eval()


@pytest.mark.parametrize("task", [FILL, *TASKS])
@pytest.mark.parametrize("kind", ["gbst", "plain"])
def test_every_task_is_answered_and_looked_into(task, kind, served, plain_model, service_of):
    service = served if kind == "gbst" else service_of(plain_model)
    answer = ask(service, task, SAMPLES[task])
    seen = answer.look
    assert "".join(unit.text for unit in seen.output).startswith(answer.text)
    assert seen.attention.shape == (len(seen.output), len(seen.seen))
    np.testing.assert_allclose(seen.attention.sum(axis=1), 1, atol=1e-4)
    assert (seen.choice is None) == (kind == "plain")
    assert seen.factor == (3 if kind == "gbst" else 1)
    if seen.choice:
        assert len(seen.choice.after) == len(seen.input_ids)
    if task == FILL:
        assert answer.parsed.value == answer.fillings[0].text
        for filling in answer.fillings:
            spans = [*filling.spans, ""]
            pairs = zip(answer.pieces, spans, strict=True)
            assert "".join(piece + span for piece, span in pairs) == filling.text
    elif answer.task.labels:
        assert answer.log_likelihoods.shape == (len(answer.task.labels),)
        assert answer.text == answer.task.labels[answer.log_likelihoods.argmax()]


def test_every_task_has_a_sample_that_fills_its_fields():
    assert set(SAMPLES) == {FILL, *TASKS}
    for task, fields in SAMPLES.items():
        assert tuple(fields) == fields_of(task)


def test_questions_are_for_the_engine_that_others_ask_too(served):
    ask(served, "ner", SAMPLES["ner"])
    assert served.worker.engine.statistics.bytes > 0
    assert served.places.taken == 0
    served.places.taken = served.places.total
    with pytest.raises(Refusal) as refusal:
        ask(served, "ner", SAMPLES["ner"])
    assert refusal.value.key == "busy"


def test_what_is_read_is_what_the_task_gives_the_model(served):
    answer = ask(served, "nsmc", {"document": "좋다"})
    read = "".join(unit.text for unit in inspection.units(answer.look.input_ids))
    assert read == "nsmc sentiment classification: 좋다</s>"


# What cannot be asked


@pytest.mark.parametrize("task", [FILL, *TASKS])
@pytest.mark.parametrize("blank", ["", "  \n\t", None])
def test_an_empty_field_is_named(task, blank, tiny_model):
    for field in fields_of(task):
        if field not in OPTIONAL:
            with pytest.raises(Refusal) as refusal:
                ask(tiny_model(), task, {**SAMPLES[task], field: blank})
            assert (refusal.value.key, refusal.value.values) == ("empty", {"field": field})


def test_a_text_may_be_as_long_as_the_server_takes(served):
    limit = ServeOptions().max_input_bytes
    with pytest.raises(Refusal) as refusal:
        ask(served, "nsmc", {"document": "a" * (limit + 1)})
    assert (refusal.value.key, f"{limit + 1} bytes" in refusal.value.values["reason"]) == (
        "refused", True,
    )  # fmt: skip
    fits = ask(served, "nsmc", {"document": "가" * (limit // 3)})
    assert (
        len(fits.look.input_ids) == 1 + 1024 - (1024 - len("nsmc sentiment classification: ")) % 3
    )


@pytest.mark.parametrize(
    ("task", "fields", "part"),
    [
        ("dp", {"sentence": "간다", "words": "간다 | 가 ㄴ다"}, "2개"),
        ("dp", {"sentence": "간다", "words": "\n\n간다\t가\tVV\tX"}, "3번째 줄에 칸이 4개"),
        (FILL, {"blanks": "__ 가 " * 12}, "12개"),
    ],
)
def test_what_a_task_refuses_is_refused_with_its_reason(task, fields, part, served):
    with pytest.raises(Refusal) as refusal:
        ask(served, task, fields)
    assert part in message(refusal.value.key, "ko", **refusal.value.values)


def test_what_takes_too_long_is_told_apart(served, monkeypatch):
    async def late(*_):
        raise TimeoutError

    monkeypatch.setattr(served, "predict", late)
    with pytest.raises(Refusal) as refusal:
        ask(served, "ner", SAMPLES["ner"])
    assert refusal.value.key == "late"


def test_what_fails_is_told_without_its_message_and_logged(served, monkeypatch, caplog):
    async def fail(*_):
        raise RuntimeError("a text of somebody")

    monkeypatch.setattr(served, "predict", fail)
    with pytest.raises(Refusal) as refusal:
        ask(served, "ner", SAMPLES["ner"])
    assert refusal.value.key == "failed"
    assert "somebody" not in repr(refusal.value.values)
    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError]


def test_an_input_of_which_a_part_was_read_is_told(served):
    answer = ask(served, "nsmc", {"document": "재미있다. " * 300})
    assert answer.is_shortened
    assert message("shortened", "ko") in draw_answer(answer, "ko")
    assert not ask(served, "nsmc", {"document": "재미있다."}).is_shortened


def test_as_many_blanks_as_there_are_sentinels_can_be_filled(served):
    answer = ask(served, FILL, {"blanks": "__ 가 " * 11})
    assert len(answer.fillings[0].spans) == 11


def test_a_text_without_blanks_cannot_be_filled(served):
    with pytest.raises(Refusal) as refusal:
        ask(served, FILL, {"blanks": "빈칸 _ 없음"})
    assert refusal.value.key == "no blank"


def test_half_a_pair_of_surrogates_becomes_a_replacement(served):
    answer = ask(served, "nsmc", {"document": "가\ud83d나\ud83d\ude42"})
    assert answer.example.inputs["document"] == "가\ufffd나🙂"


# Words


def test_columns_may_be_divided_by_bars_or_tabs(served):
    bars, tabs = (
        "나는 | 나 는 | NP+JX\n 간다 | 가 ㄴ다 | VV+EF\n",
        "나는\t나 는\tNP+JX\n간다\t가 ㄴ다\tVV+EF",
    )
    asked = [
        ask(served, "dp", {"sentence": "나는 간다", "words": words}).look.input_ids
        for words in (bars, tabs)
    ]
    assert asked[0] == asked[1]


def test_words_without_analysis_stand_for_themselves(served):
    answer = ask(served, "dp", {"sentence": "나는  간다", "words": ""})
    assert answer.example.inputs["words"] == "나는\t나는\tNA\n간다\t간다\tNA"
    assert len(answer.parsed.value) == 2


# Long texts


def test_a_long_passage_is_read_in_windows_and_looked_at_in_part(served, monkeypatch):
    monkeypatch.setattr(TASKS["korquad"], "max_input_bytes", 300)
    context = "바다가 보이는 언덕에 작은 집이 있다. " * 12
    answer = ask(served, "korquad", {"question": "어디에 있나?", "context": context})
    assert answer.windows > 2
    assert len(answer.look.input_ids) <= 301


def test_only_a_part_of_a_long_text_is_shown_with_its_attention(tiny_model):
    seen = look(tiny_model(), "가나 " * 1000, "다 " * 500)
    assert seen.is_cut
    assert seen.output[-1].end <= MAX_SEEN_OUTPUT
    assert seen.seen[-1].end <= MAX_SEEN_INPUT
    assert seen.attention.shape == (len(seen.output), len(seen.seen))
    assert (seen.attention.sum(axis=1) < 1).all()
    assert len(seen.choice.after) == len(seen.input_ids) == 7001


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.text(max_size=6))
def test_any_text_can_be_looked_at(shared_model, text, output):
    seen = look(shared_model, text, output)
    assert not seen.is_cut
    np.testing.assert_allclose(seen.attention.sum(axis=1), 1, atol=1e-4)


@pytest.fixture(scope="module")
def shared_model():
    from kebyt5 import GBSWT5Config, GBSWT5ForConditionalGeneration

    config = GBSWT5Config(d_model=16, d_ff=16, d_kv=4, num_heads=2, num_layers=1,
                          num_decoder_layers=1, subword_blocks=[1, 2, 3, 6, 9],
                          downsample_factor=3)  # fmt: skip
    return GBSWT5ForConditionalGeneration(config).eval()


# Which tasks


@pytest.mark.parametrize(
    ("config", "tasks"),
    [
        ("finetune:\n  task: ner\n", ("ner",)),
        ("finetune:\n  task: [mrc, ner, gone]\n", ("ner", "mrc")),
    ],
)
def test_a_run_says_what_its_model_may_be_asked(config, tasks, served, tmp_path):
    (tmp_path / "config.yaml").write_text(config)
    served.model.name_or_path = str(tmp_path)
    assert tasks_of(served) == (tasks, True)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "[1",
        "pretrain: {}",
        "finetune: 3",
        "finetune: {task: [gone]}",
        "finetune: {task: }",
        "finetune: {task: 3}",
    ],
)
def test_any_other_model_may_be_asked_anything(config, served, tmp_path):
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    served.model.name_or_path = str(tmp_path)
    assert tasks_of(served) == ((FILL, *TASKS), False)
