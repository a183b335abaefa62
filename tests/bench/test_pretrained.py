"""Comparing pretrained models with each other and with PPM, from examples to the page."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kebyt5.bench.curves import Curve, comparable, reference, training_step
from kebyt5.bench.ppm import PPM
from kebyt5.bench.pretrained import (
    Infilling,
    infill,
    masked_text,
    ppm_bits_per_byte,
    short_name,
    spans_of,
    texts_of,
    train_ppm,
    unseen_text,
)
from kebyt5.bench.pretrained_report import curves_table
from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.errors import InputError
from kebyt5.models.loading import load
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.pretrain import pretrain, training_examples
from kebyt5.pretraining.validation import Validation, validation_shards
from tests.bench.commands import run

TEXT = {
    "film": "어제 본 영화는 재미있었다. 배우들이 좋았다.\n",
    "law": "제1조(목적) 이 법은 국민의 안전을 목적으로 한다.\n",
}


@pytest.fixture
def corpus(tmp_path):
    for split, times in (("train", 60), ("validation", 20)):
        for source, text in TEXT.items():
            with ShardWriter(tmp_path / "corpus" / split / source, "0") as writer:
                writer.write(text * times)
    return tmp_path / "corpus"


@pytest.fixture
def validation(corpus):
    return Validation(validation_shards(corpus), 3, 2, input_length=64)


def test_the_text_behind_an_example_and_its_masked_bytes(validation):
    for name, numbers in validation.batches:
        inputs, labels = validation.examples.of_source(name, numbers)
        for row, target in zip(inputs, labels, strict=True):
            text, places = masked_text(row, target)
            assert text.tobytes().decode() in TEXT[name] * 20 + "\n"
            masked = b"".join(span for _, span in spans_of(target))
            assert text[places].tobytes() == masked
            assert len(masked) == round(0.15 * len(text))


def test_texts_of_examples_have_no_cut_characters(validation):
    for text in texts_of(validation):
        assert len(text.encode()) > 60
        assert any(text in each * 20 + "\n" for each in TEXT.values())


def test_spans_of_what_a_model_writes():
    ids = np.array([0, 70, 258, 68, 69, 257, 256, 71, 0, 1, 255, 72])
    # What stands before the first sentinel and behind the end is nothing.
    assert dict(spans_of(ids)) == {258: b"AB", 257: b"", 256: b"D"}


def test_ppm_is_charged_for_masked_bytes_alone(corpus, validation):
    never = PPM([np.zeros(1, np.uint8)], 0)  # escapes from its only symbol, then 1 of 255
    bits = ppm_bits_per_byte(never, validation)
    assert bits == pytest.approx(dict.fromkeys(("film", "law", "all"), 1 + math.log2(255)))
    # Text that it knows by heart costs next to nothing, but where a text begins anew.
    learnt = ppm_bits_per_byte(train_ppm(Shards(corpus / "train"), 5), validation)
    assert learnt["all"] < 0.5


def test_spans_are_counted_by_length():
    found = Infilling()
    for span, written in ((b"abc", b"abc"), (b"abcd", b"abc"), (b"a" * 30, None), (b"b", b"b")):
        found.add(span, written)
    assert found.spans == [2, 1, 0, 1]
    assert found.exact == [2, 0, 0, 0]


def test_a_model_that_knows_the_answer_fills_every_span(validation, tiny_model):
    model = tiny_model()
    answers = {}
    for name, numbers in validation.batches:
        inputs, labels = validation.examples.of_source(name, numbers)
        answers |= {tuple(row): target for row, target in zip(inputs, labels, strict=True)}

    def generate(input_ids, attention_mask, max_new_tokens, **_):
        found = np.array([answers[tuple(row)] for row in input_ids.tolist()])
        assert max_new_tokens == found.shape[1]
        return torch.from_numpy(np.insert(found, 0, 0, axis=1))

    model.generate = generate
    found = infill(model, validation, "")
    assert found.exact == found.spans
    assert sum(found.spans) >= 6


def test_files_of_the_users_own(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.txt").write_text(TEXT["film"])
    (tmp_path / "empty.txt").write_text(" \n")
    shards = unseen_text([tmp_path / "a" / "text.txt"], tmp_path / "shards")
    assert list(shards.sources) == ["text"]
    with pytest.raises(InputError, match="second file called text"):
        unseen_text([tmp_path / n / "text.txt" for n in ("a", "b")], tmp_path / "second")
    with pytest.raises(InputError, match=r"empty.txt: the file is empty"):
        unseen_text([tmp_path / "empty.txt"], tmp_path / "third")
    assert short_name("runs/a", ["runs/a", "runs/b"]) == "a"
    assert short_name("x/a", ["x/a", "y/a"]) == "x/a"


@pytest.mark.parametrize("changes", [{}, {"salient": True, "names": "runs/that-is-gone"}])
def test_a_timed_step_is_one_of_the_run_but_for_its_names(corpus, checkpoint, tmp_path, changes):
    config = PretrainConfig(
        corpus=corpus, output=tmp_path / "run", batch_size=4, device_batch_size=2, input_length=64,
        density=0.4, mean_span=5.0, copy=0.5, seed=3, **changes,
    )  # fmt: skip
    model, seen = load(checkpoint), []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    shards = Shards(corpus / "train")
    training_step(model, config, shards)()
    expected = training_examples(replace(config, names=None), shards).batch(range(4))
    for name, ids in zip(("input_ids", "labels"), expected, strict=True):
        assert torch.cat([part[name] for part in seen]).tolist() == ids.tolist()


def test_a_second_stage_is_not_compared_with_runs_from_the_beginning(tmp_path):
    def settings(model):
        return PretrainConfig(corpus=tmp_path, output=tmp_path, model=model)

    first, second = settings("gbst-kebyt5-tiny"), settings("runs/first")
    both = {"first": first, "second": second}
    assert comparable(both) == {"first": first}
    assert comparable({"second": second}) == {"second": second}


def test_runs_are_compared_where_the_slowest_ended():
    slow = Curve("plain", [100, 200], [3.0, 2.0], 3.0)
    fast = Curve("gbst", [100, 200, 600], [3.2, 2.4, 1.6], 1.0)
    short = Curve("short", [150], [2.8], 1.0)
    curves = [fast, slow, short]
    assert reference(curves) is slow
    assert fast.at_step(150) == pytest.approx(2.8)
    rows = {line.split(" | ")[0]: line for line in curves_table(curves)}
    assert rows["| plain"].endswith("| 2.000 | 2.000 | 2.000 |")
    assert rows["| gbst"].endswith("| 1.600 | 2.400 | 1.600 |")  # 600 s are 600 of its steps
    assert rows["| short"].endswith("| 2.800 | ended before | ended before |")


def test_the_page_of_two_runs(corpus, checkpoint, tmp_path):
    runs = [tmp_path / "first", tmp_path / "second"]
    for output, steps in zip(runs, (2, 4), strict=True):
        pretrain(
            PretrainConfig(
                corpus=corpus, output=output, model=str(checkpoint), steps=steps, batch_size=4,
                device_batch_size=2, input_length=64, warmup_steps=0, eval_steps=1,
                peak_tflops=1.0,
            )
        )  # fmt: skip
    run("pretrained", *runs, "--corpus", corpus, "--examples", 2, "--input-length", 64,
        "--rounds", 1, "--output", tmp_path / "results")  # fmt: skip
    page = (tmp_path / "results" / "pretrained.md").read_text()
    assert page.startswith("# Pretrained models\n\n![Pretrained models](pretrained.png)\n")
    for part in ("| first | second | PPM, order 5 |", "| film |", "| **all** |", "## Infilling",
                 "21 and more", "## One blank at a time", "| one syllable |",
                 "## Equal steps, equal time", "commit"):  # fmt: skip
        assert part in page
    # As the runs themselves measured it, on other examples of the same text.
    total = next(line for line in page.splitlines() if line.startswith("| **all** |"))
    for run_folder, cell in zip(runs, total.split(" | ")[1:], strict=False):
        stored = json.loads((run_folder / "metrics.json").read_text())["bits_per_byte"]["all"]
        assert float(cell) == pytest.approx(stored, rel=0.1)
    assert (tmp_path / "results" / "pretrained.png").read_bytes().startswith(b"\x89PNG")


def test_a_text_alone(checkpoint, tmp_path, capsys):
    (tmp_path / "novel.txt").write_text(TEXT["film"] * 10)
    run("pretrained", checkpoint, "--text", tmp_path / "novel.txt", "--examples", 2,
        "--input-length", 64)  # fmt: skip
    shown = capsys.readouterr().out
    assert "novel" in shown
    assert "PPM" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model"),
        (["tiny"], "no text to measure on; give --text"),
        (["tiny", "--corpus", "nowhere", "--order", 8], "--order 8: has to be 7 or less"),
        (["tiny", "--corpus", "nowhere"], "nowhere/train: no such folder"),
        (["tiny", "--text", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(InputError, match=message):
        run("pretrained", *arguments)
