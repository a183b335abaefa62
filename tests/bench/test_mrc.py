"""The efficiency table runs on real lengths."""

import json

import pytest

from kebyt5.bench import mrc
from kebyt5.bench.mrc import bench_mrc, real_texts, synthetic_text
from kebyt5.errors import InputError
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.tasks import get_task


@pytest.fixture
def questions(tmp_path):
    """A KLUE-MRC file with eight questions, the longest first."""
    paragraphs = [
        {
            "context": "가나다 " * (10 * number),
            "qas": [{"guid": f"q{number}", "question": "무엇인가?", "is_impossible": False,
                     "answers": [{"text": "가나다", "answer_start": 0}]}],
        }
        for number in range(8, 0, -1)
    ]  # fmt: skip
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
    return path


def test_chosen_questions_are_spread_over_all_lengths(questions):
    lengths = [batch.input_ids.shape[1] for batch in real_texts(questions, 4).batches]
    every = [batch.input_ids.shape[1] for batch in real_texts(questions, 8).batches]
    assert every == sorted(every)
    assert lengths == every[1::2]
    assert len(real_texts(questions, 20).batches) == 8


def test_texts_are_those_of_the_task(questions):
    batch = real_texts(questions, 8).batches[0]
    task = get_task("mrc")
    (shortest,) = [e for e in task.read(questions) if e.id == "q1"]
    decode = ByteTokenizer().decode
    assert decode(batch.input_ids[0], skip_special_tokens=True) == task.input_text(shortest)
    assert decode(batch.labels[0], skip_special_tokens=True) == task.target_text(shortest)


@pytest.mark.parametrize("length", [300, 6800, 6801, 6802])
def test_synthetic_texts_have_exactly_their_length(length):
    (batch,) = synthetic_text(length).batches
    assert batch.input_ids.shape == batch.attention_mask.shape == (1, length)
    text = ByteTokenizer().decode(batch.input_ids[0], skip_special_tokens=True)
    assert text.startswith("task: MRC, ")
    assert "\ufffd" not in text


def test_a_length_without_room_for_a_context_is_refused():
    with pytest.raises(InputError, match="--lengths"):
        synthetic_text(100)


@pytest.mark.slow
def test_both_models_train_and_answer(questions):
    (result,) = bench_mrc("tiny", [real_texts(questions, 2)], rounds=1)
    for name in ("kebyt5", "kebyt5-gbst"):
        assert result.rounds[name].keys() == mrc.PUBLISHED.keys()
        assert result.samples_per_second(name, "training") > 0


def test_what_does_not_fit_is_not_run(questions, monkeypatch):
    monkeypatch.setattr(mrc, "run_texts", lambda runner, texts: pytest.fail("was run"))
    (result,) = bench_mrc("tiny", [real_texts(questions, 2)], rounds=1, memory=2**20)
    assert result.rounds == {}
    assert result.needs["kebyt5"] > 2**20
    assert result.samples_per_second("kebyt5", "training") is None
    assert result.ratio("training") is None
