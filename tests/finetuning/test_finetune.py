"""A fine-tuning run leaves a folder that holds all about it, also when it was killed."""

import json
import os
import re
import socket
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.distributed.distributed_c10d import _set_pg_timeout as set_pg_timeout
from transformers import Trainer, TrainerState

import kebyt5
from kebyt5.cli import main
from kebyt5.errors import CheckpointError, InputError
from kebyt5.evaluation.predict import predict
from kebyt5.finetuning import finetune as finetune_module
from kebyt5.finetuning import repeat
from kebyt5.finetuning import trainer as trainer_module
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.data import LengthGroupedSampler, TaskDataset
from kebyt5.finetuning.finetune import finetune
from kebyt5.finetuning.progress import ShowScores
from kebyt5.finetuning.repeat import finetune_repeatedly
from kebyt5.finetuning.resume import relocate_best_checkpoint
from kebyt5.finetuning.trainer import SetEpoch
from kebyt5.tasks import get_task
from kebyt5.tasks.ner import NER
from tests.processes import Process

SHORT = {"max_input_bytes": 60, "max_target_bytes": 60, "eval_examples": 2, "epochs": 2.0}


pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    """An untrained model never ends its answer; a low bound keeps the tests fast."""
    monkeypatch.setattr("kebyt5.tasks.ner.NER.max_target_bytes", lambda self, example: 12)


@pytest.fixture
def config(checkpoint, train_file, dev_file, tmp_path):
    return FinetuneConfig(
        task=["ner"], train=[train_file], dev=[dev_file], checkpoint=str(checkpoint),
        output=tmp_path / "run", learning_rate=1e-2, batch_size=8, device_batch_size=4, **SHORT,
    )  # fmt: skip


@pytest.mark.usefixtures("real_figures")
def test_the_folder_holds_checkpoint_scores_curves_and_card(config, tmp_path):
    metrics = finetune(config)
    output = tmp_path / "run"
    assert metrics == json.loads((output / "metrics.json").read_text())
    assert {"entity_macro_f1", "char_macro_f1"} <= metrics["scores"].keys()
    assert metrics["baseline"].keys() == metrics["scores"].keys()
    assert metrics["training"]["examples"] == 24
    assert metrics["training"]["steps"] == 6
    assert metrics["training"]["truncated"] > 0
    assert metrics["made"]["versions"]["torch"] == torch.__version__
    predictions = [
        json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()
    ]
    assert len(predictions) == 6
    assert predictions[0]["target"]
    assert (output / "training.png").read_bytes().startswith(b"\x89PNG")
    assert list(output.glob("runs/*/events.out.tfevents.*"))
    history = json.loads((output / "history.json").read_text())
    assert {"eval_loss", "eval_entity_macro_f1", "eval_main_score"} <= set().union(*history)
    card = (output / "README.md").read_text()
    assert "entity_macro_f1" in card
    assert str(config.checkpoint) in card
    assert not list(output.glob("*incomplete*"))
    settings = yaml.safe_load((output / "config.yaml").read_text())["finetune"]
    assert settings["learning_rate"] == 1e-2
    assert settings["freeze"] == "gbst"
    assert "max_length" not in json.loads((output / "generation_config.json").read_text())
    # What is saved is a checkpoint: the one with the best score.
    model = kebyt5.load(output)
    assert model.config.use_cache
    best = metrics["training"]["best_checkpoint_step"]
    saved = load_file(output / f"checkpoint-{best}" / "model.safetensors")
    assert torch.equal(model.lm_head.weight, saved["lm_head.weight"])
    # The seed decides everything.
    config.output = tmp_path / "again"
    finetune(config)
    first, second = (load_file(folder / "model.safetensors") for folder in (output, config.output))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_gbst_stays_as_it_was_and_the_rest_is_trained(config, checkpoint):
    finetune(config)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (checkpoint, config.output)
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in before if name not in moved} == {
        name for name in before if "positional_convol" in name or "cand_scoring" in name
    }
    assert "shared.weight" in moved


def test_lora_writes_an_adapter_that_loads_as_a_model(config):
    config.lora = 2
    metrics = finetune(config)
    assert (config.output / "adapter_model.safetensors").exists()
    assert not (config.output / "model.safetensors").exists()
    assert 0 < metrics["training"]["trained_parameters"] < metrics["training"]["parameters"] / 4
    assert type(kebyt5.load(config.output)) is kebyt5.GBSWT5ForConditionalGeneration


def test_an_adapter_is_not_trained_on_another_which_nothing_would_name(config, tmp_path):
    config.lora, config.epochs = 2, 0.1
    finetune(config)
    first = config.output
    assert kebyt5.load(first).name_or_path == str(first)
    again = replace(config, checkpoint=str(first), output=tmp_path / "again")
    with pytest.raises(InputError, match=f"fold it first: kebyt5 merge {first} --output"):
        finetune(again)
    assert not again.output.exists()
    finetune(replace(again, lora=None))  # all its weights may be trained
    with pytest.raises(InputError, match="--lora: its random weights would not be saved"):
        replace(config, checkpoint="random:gbst-kebyt5-tiny")


@pytest.mark.parametrize(
    "options",
    [
        {"bf16": True, "gradient_checkpointing": True},
        {"optimizer": "adafactor", "freeze": "none", "dropout": 0.1, "eval_steps": 2},
        {"fresh_decoder": True},
    ],
    ids=str,
)
def test_other_ways_to_train(config, options):
    for name, value in (options | {"epochs": 1.0}).items():
        setattr(config, name, value)
    assert finetune(config)["training"]["steps"] == 3
    card = (config.output / "README.md").read_text()
    assert ("the decoder began anew" in card) == config.fresh_decoder


def test_resumed_epochs_draw_what_they_would_have_drawn(config):
    task = get_task("ner")
    dataset = TaskDataset([(task, task.read(config.train[0]))], 60, 60)
    sampler = LengthGroupedSampler(dataset.lengths, 8, 0)
    for epoch in (0, 1.0, 1.66, 2.9999999):
        SetEpoch(sampler, dataset).on_epoch_begin(None, TrainerState(epoch=epoch), None)
        assert sampler.epoch == dataset.epoch == int(epoch + 1e-6)


@pytest.fixture
def label_file(tmp_path):
    """Twelve headlines in the KLUE-TC format."""
    path = tmp_path / "ynat.json"
    labels = ("경제", "정치", "세계")
    records = [{"guid": f"{n}", "title": f"새 소식 {n}", "label": labels[n % 3]} for n in range(12)]
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def test_each_validation_is_a_line_and_nothing_else_is_printed(config, label_file, capsys):
    config.task, config.epochs = ["ner", "ynat"], 1.0
    config.train, config.dev = [*config.train, label_file], [*config.dev, label_file]
    metrics = finetune(config)
    steps = metrics["training"]["steps"]
    out, error = capsys.readouterr()
    (line,) = [line for line in error.splitlines() if "validation" in line]
    start = f"step {steps}/{steps}, validation:  ner entity_macro_f1 "
    assert re.fullmatch(start + r"\d+\.\d\d  ynat macro_f1 \d+\.\d\d", line)
    assert "{'" not in out + error


def test_the_bar_is_removed_however_training_ends(config, monkeypatch):
    stopped = []
    monkeypatch.setattr(ShowScores, "stop", lambda self: stopped.append(True))

    def fail(self, *arguments):
        raise MemoryError

    monkeypatch.setattr("kebyt5.finetuning.trainer.FinetuneTrainer.training_step", fail)
    with pytest.raises(MemoryError):
        finetune(config)
    assert stopped


def test_one_checkpoint_learns_several_tasks_with_scores_for_each(config, label_file):
    config.task, config.temperature = ["ner", "ynat"], 3.0
    config.train, config.dev = [*config.train, label_file], [*config.dev, label_file]
    metrics = finetune(config)
    assert metrics == json.loads((config.output / "metrics.json").read_text())
    assert list(metrics["tasks"]) == ["ner", "ynat"]
    for name, examples in (("ner", 6), ("ynat", 12)):
        alone = json.loads((config.output / name / "metrics.json").read_text())
        assert alone == metrics["tasks"][name]
        assert alone["task"] == name
        predictions = (config.output / name / "predictions.jsonl").read_text().splitlines()
        assert len(predictions) == examples == alone["examples"]
    main = [
        metrics["tasks"][n]["scores"][s]
        for n, s in (("ner", "entity_macro_f1"), ("ynat", "macro_f1"))
    ]
    assert metrics["main_score"] == sum(main) / 2
    card = (config.output / "README.md").read_text()
    assert "entity_macro_f1" in card
    assert "Topic of a headline" in card
    # 36 examples an epoch, drawn by temperature from 24 and 12.
    assert metrics["training"]["steps"] == 10


def test_seeds_and_folds_give_mean_and_deviation(config, label_file):
    config.task, config.train, config.dev = ["ynat"], [label_file], []
    config = replace(config, seeds=2, folds=3, epochs=1.0)
    metrics = finetune_repeatedly(config)
    assert metrics == json.loads((config.output / "metrics.json").read_text())
    names = [f"seed-{seed}-fold-{fold}" for seed in (0, 1) for fold in range(3)]
    assert metrics["summary"]["runs"] == names
    runs = [json.loads((config.output / name / "metrics.json").read_text()) for name in names]
    assert sum(run["examples"] for run in runs) == 24
    scores = [run["scores"]["accuracy"] for run in runs]
    found = metrics["summary"]["tasks"]["ynat"]["accuracy"]
    assert found == {"mean": pytest.approx(mean(scores)), "std": pytest.approx(stdev(scores))}
    # What is finished is not run again; what is not, is.
    weights = {name: (config.output / name / "model.safetensors").stat().st_ino for name in names}
    (config.output / names[2] / "metrics.json").unlink()
    again = finetune_repeatedly(replace(config, resume=True))
    assert again["summary"] == metrics["summary"]
    changed = {
        name
        for name in names
        if (config.output / name / "model.safetensors").stat().st_ino != weights[name]
    }
    assert changed == {names[2]}


def test_one_fold_with_several_seeds_is_a_run_for_each_seed(config, label_file):
    config.task, config.train, config.dev = ["ynat"], [label_file], []
    metrics = finetune_repeatedly(replace(config, seeds=2, folds=3, fold=1, epochs=1.0))
    assert metrics["summary"]["runs"] == ["seed-0-fold-1", "seed-1-fold-1"]


def test_scores_are_those_of_the_saved_model_in_full_precision(config, label_file):
    config = replace(config, task=["ynat"], train=[label_file], dev=[label_file], bf16=True)
    finetune(config)
    lines = (config.output / "predictions.jsonl").read_text().splitlines()
    reported = [json.loads(line)["log_likelihoods"] for line in lines]
    task = get_task("ynat")
    found = predict(kebyt5.load(config.output), task, task.read(label_file))
    for row, values in zip(reported, found.log_likelihoods, strict=True):
        assert list(row.values()) == pytest.approx(values, abs=1e-3)


def test_what_cannot_be_predicted_is_refused_before_training(config, tmp_path):
    answers = [{"text": "하늘이", "answer_start": 0}]
    paragraphs = [
        {"context": "하늘이가 서울에 산다.", "qas": [
            {"guid": "0", "question": "누가" * n, "is_impossible": False, "answers": answers},
        ]}
        for n in (1, 99)
    ]  # fmt: skip
    path = tmp_path / "mrc.json"
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
    config = replace(config, task=["mrc"], train=[path], dev=[path], limit=1, eval_examples=1)
    with pytest.raises(InputError, match=r"mrc\.json:.*raise the limit"):
        finetune(replace(config, max_input_bytes=256))
    assert not config.output.exists()


@pytest.mark.parametrize("options", [{}, {"seeds": 2}], ids=str)
def test_a_sharded_model_is_refused_before_anything_is_written(config, monkeypatch, options):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    run = finetune_repeatedly if options else finetune
    with pytest.raises(InputError, match="FSDP is for pretraining: fine-tuning needs the whole"):
        run(replace(config, **options))
    assert not config.output.exists()


def test_a_warmup_longer_than_the_run_is_refused_before_anything_is_written(config):
    with pytest.raises(InputError, match="--warmup-steps 6: has to be fewer than the 6 steps"):
        finetune(replace(config, warmup_steps=6))
    assert not config.output.exists()


def finetune_on_two_processes(config: FinetuneConfig, rank: int, port: int) -> None:
    """One of two processes, where the final scores take longer than collectives wait."""
    NER.max_target_bytes = lambda self, example: 12
    os.environ |= {
        "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost", "MASTER_PORT": f"{port}",
    }  # fmt: skip
    finish = finetune_module.finish

    def finish_slowly(config, *rest):
        if config.output.name == "seed-0":
            time.sleep(15)
        return finish(config, *rest)

    def finetune_impatiently(config):
        metrics = finetune(config)
        set_pg_timeout(timedelta(seconds=10), torch.distributed.group.WORLD)
        return metrics

    finetune_module.finish = finish_slowly
    repeat.finetune = finetune_impatiently
    assert bool(finetune_repeatedly(config)) == (rank == 0)


@pytest.mark.slow
def test_other_processes_wait_for_the_scores_of_a_run_as_long_as_they_take(config):
    config = replace(config, seeds=2, epochs=1.0)
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    processes = [Process(finetune_on_two_processes, config, rank, port) for rank in range(2)]
    for process in processes:
        assert process.wait() == 0, process.output()
    metrics = json.loads((config.output / "metrics.json").read_text())
    assert metrics["summary"]["runs"] == ["seed-0", "seed-1"]


def finetune_with_short_targets(*arguments: str) -> None:
    """`kebyt5 finetune` on so short targets that evaluation takes no time."""
    NER.max_target_bytes = lambda self, example: 12
    sys.argv = ["kebyt5", *arguments]
    main()


def run_in_a_process(config: FinetuneConfig, *options: str) -> Process:
    return Process(
        finetune_with_short_targets,
        "finetune", "--task", "ner", "--train", str(config.train[0]), "--dev", str(config.dev[0]),
        "--checkpoint", config.checkpoint, "--output", str(config.output), "--dropout", "0.1",
        "--learning-rate", "1e-2", "--batch-size", "4", "--device-batch-size", "4",
        "--eval-examples", "2", "--eval-steps", "3", "--epochs", "3", *options,
    )  # fmt: skip


@pytest.mark.parametrize("repeats", [{}, {"seeds": 2}, {"folds": 2, "dev": []}], ids=str)
def test_a_run_does_not_go_on_with_other_data(config, repeats):
    config = replace(config, epochs=0.1, **repeats)
    run = finetune_repeatedly if repeats else finetune
    run(config)
    train = config.train[0]
    train.write_text(train.read_text().replace("\tO\n", "\tB-PS\n", 1))
    with pytest.raises(InputError, match=f"{train}: not what it was when the run in"):
        run(replace(config, resume=True))


def test_data_may_be_a_saved_data_set(config, tmp_path):
    from datasets import Dataset

    rows = [{"text": f"글 {n}", "target": f"답 {n}"} for n in range(8)]
    Dataset.from_list(rows).save_to_disk(tmp_path / "set")
    config = replace(config, task=["seq2seq"], train=[tmp_path / "set"], epochs=1.0,
                     max_target_bytes=20)  # fmt: skip
    dev = tmp_path / "dev.jsonl"
    dev.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    finetune(replace(config, dev=[dev]))
    assert list(json.loads((config.output / "data.json").read_text())) == [str(dev)]


def test_a_run_that_has_hardly_begun_begins_anew_with_mended_data(config):
    config.output.mkdir()
    (config.output / "config.yaml").write_text("finetune: {}\n")
    (config.output / "data.json").write_text(json.dumps({str(config.train[0]): "another"}))
    finetune(replace(config, resume=True, epochs=0.1))
    assert (config.output / "metrics.json").exists()


def test_a_complete_run_is_not_trained_further(config, monkeypatch):
    def fail(*_):
        raise InputError("the disk is full")

    config = replace(config, epochs=0.5)
    with monkeypatch.context() as patch:
        patch.setattr("kebyt5.finetuning.finetune.finish", fail)
        with pytest.raises(InputError, match="disk"):
            finetune(config)
    steps = [int(path.name.split("-")[1]) for path in config.output.glob("checkpoint-*")]
    metrics = finetune(replace(config, resume=True))
    assert metrics["training"]["steps"] == max(steps)


def test_a_run_that_diverges_keeps_its_best_checkpoint(config, monkeypatch):
    asked = 0

    def diverging(model, task, examples, *rest, **options):
        nonlocal asked
        asked += 1
        found = predict(model, task, examples, *rest, **options)
        table = np.full((len(examples), 2), np.nan if asked == 2 else -1.0)
        return replace(found, log_likelihoods=table)

    monkeypatch.setattr("kebyt5.finetuning.trainer.predict", diverging)
    monkeypatch.setattr(NER, "score_likelihoods", lambda *_: {"entity_macro_f1": 1.0})
    training = finetune(replace(config, epochs=2))["training"]
    assert training["best_checkpoint_step"] == training["steps"] / 2


def test_of_equal_scores_the_smaller_loss_decides(config, monkeypatch):
    losses = iter((2.0, 1.0, 3.0))
    monkeypatch.setattr(Trainer, "evaluate", lambda *_, **__: {"eval_loss": next(losses)})
    monkeypatch.setattr("kebyt5.finetuning.trainer.mean_main_score", lambda _: 10.0)
    training = finetune(replace(config, epochs=3))["training"]
    assert training["best_checkpoint_step"] == training["steps"] * 2 / 3


def test_a_folder_does_not_stand_for_the_model_that_ships(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "adapter_config.json").write_text("{}")
    finetune(replace(config, checkpoint="tiny", lora=2, epochs=0.1))
    assert kebyt5.load(config.output).config.d_model == kebyt5.load("tiny").config.d_model


def test_an_adapter_finds_its_base_from_another_folder(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finetune(replace(config, checkpoint="checkpoint", lora=2, epochs=0.1))
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert kebyt5.load(config.output).dtype == torch.float32
    (tmp_path / "checkpoint").rename(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=f"{config.output}: its base model, .* cannot be lo"):
        kebyt5.load(config.output)


def test_a_run_that_goes_on_elsewhere_takes_the_same_weights_for_the_best(
    config, monkeypatch, tmp_path
):
    scores = iter([1.0, 0.5])  # the first checkpoint is the best
    monkeypatch.setattr(trainer_module, "mean_main_score", lambda _: next(scores))
    monkeypatch.setattr(finetune_module, "finish", lambda *_: 1 / 0)  # as if killed while scoring
    with pytest.raises(ZeroDivisionError):
        finetune(config)
    monkeypatch.undo()
    monkeypatch.setattr(NER, "max_target_bytes", lambda self, example: 12)
    moved = tmp_path / "elsewhere"
    config.output.rename(moved)
    best = load_file(min(moved.glob("checkpoint-*")) / "model.safetensors")
    finetune(replace(config, output=moved, resume=True))
    found = load_file(moved / "model.safetensors")
    assert all(torch.equal(found[name], best[name]) for name in best)


def test_a_best_checkpoint_that_is_gone_is_forgotten(tmp_path):
    path = tmp_path / "checkpoint-4" / "trainer_state.json"
    path.parent.mkdir()
    best = {"best_model_checkpoint": "old/checkpoint-2", "best_metric": 9.0, "best_global_step": 2}
    path.write_text(json.dumps(best | {"global_step": 4}))
    relocate_best_checkpoint(path.parent)
    assert json.loads(path.read_text()) == dict.fromkeys(best) | {"global_step": 4}


def test_a_damaged_adapter_is_told_before_another_is_trained_on_it(config, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="names no base model; the file is damaged"):
        finetune(replace(config, checkpoint=str(tmp_path / "adapter"), lora=2))


def test_a_killed_run_resumes_to_the_same_weights(config, tmp_path):
    config.output = tmp_path / "whole"
    whole = run_in_a_process(config)
    config.output = tmp_path / "killed"
    killed = run_in_a_process(config)
    deadline = time.monotonic() + 120
    while not list(config.output.glob("checkpoint-*/trainer_state.json")):
        assert killed.poll() is None, killed.output()
        assert time.monotonic() < deadline, "no checkpoint in two minutes"
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not (config.output / "model.safetensors").exists()
    # A checkpoint that a kill cut off has no trainer state yet.
    (config.output / "checkpoint-999").mkdir()

    resumed = run_in_a_process(config, "--resume")
    for process in (whole, resumed):
        assert process.wait() == 0, process.output()
    first, second = (
        load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    histories = [history(tmp_path / name) for name in ("whole", "killed")]
    assert histories[0] == histories[1]


def history(output: Path) -> list[dict[str, float]]:
    """The last checkpoint's log without times.

    And without the training loss, which is a mean since the last entry: a resumed run has not
    seen the steps before its checkpoint.
    """
    last = max(output.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    log = json.loads((last / "trainer_state.json").read_text())["log_history"]
    left_out = ("runtime", "per_second", "loss")
    return [{k: v for k, v in entry.items() if not k.endswith(left_out)} for entry in log]
