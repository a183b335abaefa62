"""A pretraining run leaves a folder that holds all about it, however it was interrupted."""

import errno
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import T5Config

import kebyt5
from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.errors import InputError
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.history import read_history
from kebyt5.pretraining.pretrain import pretrain, training_examples
from kebyt5.pretraining.progress import ShowThroughput
from kebyt5.pretraining.resume import require_same_sharding
from kebyt5.pretraining.trainer import TrainingData, _as_it_is, _require_own_optimizer
from kebyt5.pretraining.validation import Validation
from kebyt5.training import speed
from kebyt5.training.checkpoints import last_checkpoint
from kebyt5.training.settings import to_yaml
from tests.pretraining.samples import marking
from tests.processes import command

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture
def corpus(tmp_path):
    """Shards of two sources, with validation text of one."""
    rng = random.Random(0)
    words = [
        f"{word} " for word in ["하늘", "맑다", "비가", "온다", "열두", "명", "12개", "2024년"]
    ]
    for split, source, documents in (
        ("train", "film", 40), ("train", "law", 80), ("validation", "film", 8),
    ):  # fmt: skip
        with ShardWriter(tmp_path / "corpus" / split / source, "0", 4_000) as writer:
            for _ in range(documents):
                writer.write("".join(rng.choices(words, k=rng.randrange(5, 60))))
    return tmp_path / "corpus"


@pytest.fixture
def config(corpus, checkpoint, tmp_path):
    return PretrainConfig(
        corpus=corpus, output=tmp_path / "run", model=str(checkpoint), steps=6, batch_size=8,
        device_batch_size=4, input_length=64, warmup_steps=2, learning_rate=1e-2, eval_steps=3,
        save_steps=2, peak_tflops=1.0,
    )  # fmt: skip


@pytest.mark.usefixtures("real_figures")
def test_the_folder_holds_checkpoint_history_curves_and_card(config, tmp_path):
    outcome = pretrain(config)
    output = config.output
    assert (outcome.step, outcome.stopped_by) == (6, 0)
    assert outcome.metrics == json.loads((output / "metrics.json").read_text())
    entries = list(read_history(output / "history.jsonl"))
    losses = [entry for entry in entries if "loss" in entry]
    assert [entry["step"] for entry in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert [e["learning_rate"] for e in losses[:3]] == pytest.approx([5e-3, 1e-2, 1e-2])
    measured = [entry for entry in entries if "bits_per_byte" in entry]
    assert [entry["step"] for entry in measured] == [3, 6]
    assert measured[-1]["bits_per_byte"].keys() == {"film", "all"}
    assert outcome.metrics["bits_per_byte"] == measured[-1]["bits_per_byte"]
    assert outcome.metrics["bytes_seen"] == 6 * 8 * outcome.metrics["raw_length"]
    assert (output / "pretraining.png").read_bytes().startswith(b"\x89PNG")
    card = (output / "README.md").read_text()
    assert all(source in card for source in ("film", "law"))
    settings = yaml.safe_load((output / "config.yaml").read_text())["pretrain"]
    assert settings["learning_rate"] == 1e-2
    assert sorted(p.name for p in output.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    assert not list(output.glob("*incomplete*"))

    model = kebyt5.load(output)
    saved = load_file(output / "checkpoint-6" / "model.safetensors")
    assert torch.equal(model.lm_head.weight, saved["lm_head.weight"])
    assert model.config.z_loss == 1e-4
    # The seed decides everything.
    config.output = tmp_path / "again"
    pretrain(config)
    assert_same_run(output, config.output)


def assert_same_run(first: Path, second: Path) -> None:
    """Losses, bits per byte and weights are equal bit for bit."""
    histories = [
        [{k: v for k, v in entry.items() if k != "seconds"} for entry in read_history(f)]
        for f in (first / "history.jsonl", second / "history.jsonl")
    ]
    assert histories[0] == histories[1]
    weights = [load_file(folder / "model.safetensors") for folder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def written(config):
    """The settings as a file for the command line."""
    preset = config.output.with_suffix(".yaml")
    preset.write_text(to_yaml("pretrain", config))
    return preset


def run_in_a_process(config, *options):
    """The command line with the settings of `config`, in a process of its own."""
    return command("pretrain", "--config", written(config), *options, session=True)


def finished(process, code=0):
    assert process.wait() == code, process.output()
    return process.output()


def run_launched(config, *launcher, options=(), **environment):
    """The same by a launcher of several processes; returns what they wrote."""
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "pretrain", "--config", str(written(config)), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def wait_for_step(process, output, step):
    deadline = time.monotonic() + 200
    while not any(entry["step"] >= step for entry in read_history(output / "history.jsonl")):
        assert process.poll() is None, process.output()
        assert time.monotonic() < deadline, "that step never came"
        time.sleep(0.01)


def test_a_killed_run_resumes_to_the_same_losses_and_weights(config, tmp_path):
    config.steps, config.save_steps, config.output = 40, 7, tmp_path / "whole"
    whole = run_in_a_process(config)
    config.output = tmp_path / "killed"
    # Before there is any checkpoint, and at some step behind the first.
    for step in (random.SystemRandom().randrange(1, 7), random.SystemRandom().randrange(8, 30)):
        killed = run_in_a_process(config, "--resume")
        wait_for_step(killed, config.output, step)
        killed.kill()
        killed.wait()
        assert not (config.output / "model.safetensors").exists(), f"killed after step {step}"
    # What a kill in the midst of writing leaves.
    (config.output / "checkpoint-999").mkdir()
    with open(config.output / "history.jsonl", "a") as file:
        file.write('{"step": 31, "lo')
    finished(run_in_a_process(config, "--resume"))
    finished(whole)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_several_gpus_without_a_launcher_are_refused_before_anything_is_written(
    config, monkeypatch
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(InputError, match="2 GPUs, but one process; use accelerate launch"):
        pretrain(config)
    assert not config.output.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_a_checkpoint_that_was_cut_off_gives_way_to_the_one_before(config, tmp_path, caplog, name):
    pretrain(replace(config, save_steps=2))
    (config.output / "metrics.json").unlink()
    newest = config.output / "checkpoint-6"
    content = (newest / name).read_bytes()
    (newest / name).write_bytes(content[: len(content) // 2])
    config.output.rename(tmp_path / "cut")
    cut = replace(config, output=tmp_path / "cut", save_steps=2, resume=True)
    assert last_checkpoint(cut.output)[0] == 4
    assert f"{cut.output / newest.name}: incomplete, so removed" in caplog.text
    pretrain(cut)
    pretrain(replace(config, output=tmp_path / "whole", save_steps=2))
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"]
)
def test_a_checkpoint_whose_deletion_was_interrupted_does_not_count(config, caplog, name):
    pretrain(replace(config, save_steps=3))
    (config.output / "checkpoint-6" / name).unlink()
    assert last_checkpoint(config.output)[0] == 3
    assert "checkpoint-6: incomplete, so removed" in caplog.text
    assert not (config.output / "checkpoint-6").exists()


def test_a_run_goes_on_as_it_was_launched(config, monkeypatch):
    # Accelerate takes DDP where it finds no accelerators, whatever it was asked for.
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    pretrain(config)
    assert pretrain(replace(config, resume=True)).step == 6
    (config.output / "checkpoint-6" / "global_step6").mkdir()
    (config.output / "checkpoint-6" / "global_step6" / "optimizer").touch()
    with pytest.raises(InputError, match="checkpoint-6: written by FSDP or DeepSpeed; launch"):
        pretrain(replace(config, resume=True))
    with pytest.raises(InputError, match="checkpoint-4: written without FSDP and DeepSpeed"):
        require_same_sharding(config.output / "checkpoint-4", is_sharding=True)


def test_an_incomplete_checkpoint_that_may_not_be_removed_is_named(config, monkeypatch):
    (config.output / "checkpoint-6").mkdir(parents=True)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(InputError, match="checkpoint-6: an incomplete checkpoint that this user"):
        last_checkpoint(config.output)


def test_one_run_is_at_work_in_a_folder(config):
    config = replace(config, steps=1000)
    process = run_in_a_process(config, "--workers", "1")
    try:
        wait_for_step(process, config.output, 3)
        for resume in (True, False):
            with pytest.raises(InputError, match="run: another run is at work here; stop it"):
                pretrain(replace(config, resume=resume))
    finally:
        process.kill()  # and not its worker
        process.wait()
    time.sleep(1)  # in which the worker ends, too
    assert pretrain(replace(config, resume=True, minutes=1e-9)).step > 2


def test_a_run_that_diverged_ends_before_its_checkpoints_replace_good_ones(config):
    wild = replace(config, learning_rate=1e30, max_grad_norm=1e30, save_steps=1, warmup_steps=0)
    with pytest.raises(InputError, match=r"step [2-6]: \w+ is (nan|inf), so training diverged;"):
        pretrain(wild)
    assert not (config.output / "metrics.json").exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json"])
def test_a_checkpoint_that_cannot_be_read_is_not_removed(config, monkeypatch, name):
    pretrain(replace(config, save_steps=2))
    newest, opened = config.output / "checkpoint-6", open

    def refuse(path, *arguments, **options):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=f"{name}: cannot be read: Permission denied; let"):
        last_checkpoint(config.output)
    assert newest.is_dir()


def test_a_checkpoint_that_cannot_be_listed_is_not_removed(config, monkeypatch):
    (config.output / "checkpoint-6").mkdir(parents=True)

    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="checkpoint-6: cannot be read: Permission denied; let"):
        last_checkpoint(config.output)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_run_that_is_stopped_saves_its_step_and_says_so(config, tmp_path, number):
    config.steps, config.save_steps, config.output = 60, 1000, tmp_path / "whole"
    whole = run_in_a_process(config)
    config.output = tmp_path / "stopped"
    process = run_in_a_process(config, "--workers", "1")
    wait_for_step(process, config.output, 3)
    os.killpg(process.pid, number)  # as cluster schedulers and terminals do
    log = finished(process, 128 + number)
    entries = list(read_history(config.output / "history.jsonl"))
    last = entries[-1]["step"]
    assert 3 <= last < 60
    assert f"Stopped after step {last} with a checkpoint" in log
    assert ("stopping after this step, with a checkpoint" in log) == (number == signal.SIGINT)
    assert [p.name for p in config.output.glob("checkpoint-*")] == [f"checkpoint-{last}"]
    finished(run_in_a_process(config, "--resume"))
    finished(whole)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_callbacks_hear_of_validation_after_which_the_clock_starts_again(config, monkeypatch):
    told = []
    monkeypatch.setattr(ShowThroughput, "on_evaluate", lambda *_, **named: told.append(named))
    pretrain(config)
    assert ["film" in each["metrics"] for each in told] == [True, True]


def test_what_a_stopped_run_does_not_measure_is_measured_when_it_goes_on(config):
    def measured():
        entries = read_history(config.output / "history.jsonl")
        return [entry["step"] for entry in entries if "bits_per_byte" in entry]

    assert pretrain(replace(config, eval_steps=1, minutes=1e-9)).step == 1
    assert measured() == []
    again = replace(config, eval_steps=1, resume=True)
    assert pretrain(again).step == 6
    assert measured() == [1, 2, 3, 4, 5, 6]
    (config.output / "metrics.json").unlink()
    shutil.rmtree(config.output / "checkpoint-6")
    assert pretrain(again).step == 6
    assert measured() == [1, 2, 3, 4, 5, 6]


def test_a_run_whose_time_is_up_goes_on_to_the_same_result_without_its_start(
    config, checkpoint, tiny_model, tmp_path
):
    tiny_model(dropout_rate=0.3).save_pretrained(checkpoint)
    config.minutes = 1e-9
    assert pretrain(config).step == 1
    checkpoint.rename(tmp_path / "away")
    config.minutes, config.resume = None, True
    assert pretrain(config).step == 6
    (tmp_path / "away").rename(checkpoint)
    config.resume, config.output = False, tmp_path / "whole"
    pretrain(config)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    configurations = [(tmp_path / run / "config.json").read_text() for run in ("run", "whole")]
    assert configurations[0] == configurations[1]


def test_two_processes_train_as_one(config, tmp_path):
    config.steps, config.save_steps, config.output = 20, 100, tmp_path / "one"
    one = run_in_a_process(config)
    config.output = tmp_path / "two"
    launcher = ["accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    launcher += ["--num-processes", "2", "--main_process_port", "0"]
    run_launched(config, *launcher, "-m", "kebyt5")
    finished(one)
    curves, bits = [], []
    for output in (tmp_path / "one", tmp_path / "two"):
        entries = list(read_history(output / "history.jsonl"))
        curves.append([entry["loss"] for entry in entries if "loss" in entry])
        bits.append([e["bits_per_byte"]["film"] for e in entries if "bits_per_byte" in e])
    assert len(curves[0]) == 20
    assert curves[1] == pytest.approx(curves[0], abs=1e-4)
    assert bits[1] == pytest.approx(bits[0], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["gbst", pytest.param("plain", marks=pytest.mark.slow)])
def test_sharded_over_two_processes_a_run_is_the_same(config, tmp_path, shape):
    config.steps, config.save_steps = 3, 2
    if shape == "plain":
        save_plain(tmp_path / "plain")
        config.model = str(tmp_path / "plain")
    config.output = tmp_path / "one"
    pretrain(config)
    config.output = tmp_path / "two"
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launcher += ["--rdzv-endpoint", "localhost:0", str(Path(__file__).with_name("fsdp_on_cpu.py"))]
    log = run_launched(
        config, *launcher,
        ACCELERATE_USE_FSDP="true", FSDP_VERSION="2", FSDP_CPU_RAM_EFFICIENT_LOADING="false",
        FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP", FSDP_TRANSFORMER_CLS_TO_WRAP="T5Block",
    )  # fmt: skip
    assert "sharded by FSDP" in log
    assert_about_the_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("deepspeed"), reason="needs `pip install deepspeed`")
@pytest.mark.parametrize("stage", [2, 3])
def test_a_run_by_deepspeed_is_the_same_and_resumes(config, tmp_path, stage):
    config.save_steps, config.output = 3, tmp_path / "one"
    pretrain(config)
    settings = {
        "compute_environment": "LOCAL_MACHINE", "distributed_type": "DEEPSPEED", "use_cpu": True,
        "num_processes": 2,
        "deepspeed_config": {"zero_stage": stage, "zero3_save_16bit_model": True},
    }  # fmt: skip
    (tmp_path / "deepspeed.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    config.output = tmp_path / "two"
    launcher = ["accelerate.commands.accelerate_cli", "launch", "--config_file"]
    launcher += [str(tmp_path / "deepspeed.yaml"), "--main_process_port", "0", "-m", "kebyt5"]
    run_launched(config, *launcher, DS_ACCELERATOR="cpu")
    assert_about_the_same(tmp_path / "two", tmp_path / "one")

    shutil.rmtree(tmp_path / "two" / "checkpoint-6")
    for name in ("model.safetensors", "metrics.json"):
        (tmp_path / "two" / name).unlink()
    run_launched(config, *launcher, options=["--resume"], DS_ACCELERATOR="cpu")
    assert_about_the_same(tmp_path / "two", tmp_path / "one")


def assert_about_the_same(run, other):
    """Whether two runs have losses and weights that are equal up to rounding."""
    losses = [
        [e["loss"] for e in read_history(each / "history.jsonl") if "loss" in e]
        for each in (run, other)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    weights, others = (load_file(each / "model.safetensors") for each in (run, other))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        # One bias for all scores changes no softmax: its gradient is rounding, magnified by Adam.
        if not name.endswith("cand_scoring.0.bias"):
            torch.testing.assert_close(tensor, others[name], atol=1e-4, rtol=0)
    kebyt5.load(run)


def save_plain(folder):
    shape = T5Config(
        vocab_size=384, d_model=16, d_ff=16, d_kv=4, num_heads=4, num_layers=1,
        tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    KEByT5ForConditionalGeneration(shape).save_pretrained(folder)


@pytest.mark.slow
def test_each_setting_changes_the_losses_or_only_how_they_are_computed(config, tmp_path):
    def losses(**options):
        output = tmp_path / f"with {options}"
        quick = replace(config, output=output, steps=6, eval_steps=9, save_steps=9)
        assert pretrain(replace(quick, **options)).step == 6
        return [
            entry["loss"] for entry in read_history(output / "history.jsonl") if "loss" in entry
        ]

    default, denser = losses(), losses(density=0.3)
    assert default != denser != losses(density=0.3, copy=0.5)
    changing = {
        "bf16": True, "schedule": "constant", "optimizer": "adafactor", "salient": True,
        "weights": {"law": 0.5}, "whole_characters": True, "mean_span": 5,
        "lookup": 0.5, "short": 0.5, "max_grad_norm": 0.01, "weight_decay": 0.9, "z_loss": 0.1,
        "seed": 1,
    }  # fmt: skip
    elsewhere = {
        "corpus", "output", "model", "gbst", "blocks", "downsample", "steps", "batch_size",
        "device_batch_size", "input_length", "names", "copy", "density", "early_copy",
        "early_lookup", "early_steps", "learning_rate", "warmup_steps", "cycles", "cycle_decay",
        "min_learning_rate", "eval_steps", "eval_examples", "save_steps", "keep_checkpoints",
        "minutes", "workers", "gradient_checkpointing", "peak_tflops", "resume",
    }  # fmt: skip
    assert {field.name for field in fields(config)} == changing.keys() | elsewhere
    found = {name: losses(**{name: value}) for name, value in changing.items()}
    assert [name for name, values in found.items() if values == default] == []
    assert losses(schedule="inverse-sqrt") not in (default, found["schedule"])
    assert losses(gradient_checkpointing=True, workers=1) == pytest.approx(default)


@pytest.mark.parametrize("bf16", [False, True])
def test_bfloat16_is_told_where_it_is_slow(config, monkeypatch, caplog, bf16):
    monkeypatch.setattr(speed, "measured_peak", lambda device, dtype: dtype.itemsize)
    config.bf16 = bf16
    pretrain(config)
    assert ("without --bf16" in caplog.text) == bf16


def test_sources_are_drawn_as_the_recipe_of_the_corpus_says(config, corpus, tmp_path):
    (corpus / "corpus.json").write_text(json.dumps({"weights": {"film": 0, "law": 0.5}}))
    shares = {name: part["share"] for name, part in pretrain(config).metrics["sources"].items()}
    assert shares == {"film": 0, "law": 1}
    config.weights, config.output = {"film": 0.5}, tmp_path / "overridden"
    metrics = pretrain(config).metrics["sources"]
    total = sum(part["bytes"] for part in metrics.values())
    for part in metrics.values():
        assert part["share"] == pytest.approx(part["bytes"] / total, abs=1e-4)
    settings = yaml.safe_load((config.output / "config.yaml").read_text())["pretrain"]
    assert settings["weights"] == {"film": 0.5, "law": 0.5}
    # Weights that have changed since make another run.
    (corpus / "corpus.json").write_text(json.dumps({"weights": {"film": 1, "law": 1}}))
    config.resume = True
    with pytest.raises(InputError, match="other settings than the run began with: weights"):
        pretrain(config)


def test_queries_learn_slower_and_copies_come_first(config, checkpoint):
    config.early_copy, config.early_steps, config.copy, config.density = 0.9, 100, 0.0, 0.3
    pretrain(config)
    state = torch.load(config.output / "checkpoint-6" / "optimizer.pt", weights_only=True)
    rates = {group["initial_lr"] for group in state["param_groups"]}
    d_kv = kebyt5.load(checkpoint).config.d_kv
    assert sorted(rates) == pytest.approx([config.learning_rate / d_kv**0.5, config.learning_rate])
    shards = Shards(config.corpus / "train")
    examples = training_examples(config, shards)
    is_copy = (examples.batch(range(48)).input_ids < 248).all(axis=1)
    assert is_copy.mean() > 0.7  # of the 6 steps, in which the share falls from 0.90 to 0.85
    config.early_lookup = 0.8
    examples = training_examples(config, shards)
    assert (examples.lookups.early, examples.lookups.share) == (0.8, 0.0)
    assert examples.lookups.examples == examples.copies.examples == 100 * config.batch_size
    assert kebyt5.load(config.output).config.use_cache


def test_names_are_masked_by_the_settings_alone(config, checkpoint, monkeypatch):
    monkeypatch.setattr("kebyt5.pretraining.names.generate_texts", marking({"하늘": "PS"}))
    config.salient, config.names = True, str(checkpoint)
    examples = training_examples(config, Shards(config.corpus / "train"))
    assert examples.salient.find(["비가 하늘 온다 12개"]) == [[(3, 5), (9, 12)]]


def test_texts_end_early_in_training_and_validation_is_masked_as_in_t5(config):
    config.density, config.short, config.steps, config.warmup_steps = 0.5, 1.0, 1, 0
    outcome = pretrain(config)
    assert outcome.metrics["bytes_seen"] < 8 * outcome.metrics["raw_length"] / 2
    validation = Validation(Shards(config.corpus / "validation"), 100, 4, config.input_length)
    bits = validation.bits_per_byte(kebyt5.load(config.output))
    assert outcome.metrics["bits_per_byte"]["all"] == pytest.approx(bits["all"], rel=1e-4)


def test_starts(config, tmp_path):
    config.steps, config.warmup_steps = 1, 0
    save_plain(tmp_path / "plain")
    config.model, config.gbst = str(tmp_path / "plain"), True
    config.blocks, config.downsample = [1, 2, 4], 2
    pretrain(config)
    model = kebyt5.load(config.output)
    assert model.config.blocks == ((1, 0), (2, 0), (4, 0))
    assert model.config.downsample_factor == 2
    assert model.config.z_loss == 1e-4
    assert model.config.dropout_rate == 0.1  # for fine-tuning; pretraining has none

    config.gbst, config.output = False, tmp_path / "second"
    with pytest.raises(InputError, match="gets no new GBST"):
        pretrain(config)
    config.model, config.downsample, config.blocks = "gbst-kebyt5-tiny", 6, None
    config.batch_size = 1
    pretrain(config)
    assert kebyt5.load(config.output).config.downsample_factor == 6


def test_what_is_wrong_is_said_before_the_first_step(config, corpus, tmp_path):
    path = next((corpus / "train" / "film").glob("*.bytes"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"film/{path.name}: .* bytes long"):
        pretrain(config)
    path.write_bytes(whole[:-2] + b"!\n")
    with pytest.raises(InputError, match=rf"film/{path.name}: its checksum"):
        pretrain(config)
    path.write_bytes(whole)
    manifest = corpus / "corpus.json"
    content = {
        "weights": {"film": 1, "law": 1},
        "splits": {"train": {"film": {"documents": 10**6}}},
    }
    manifest.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"train/film: .* documents, but corpus.json has 1,000,000"
    ):
        pretrain(config)
    content["splits"] = {
        "train": {"film": {"documents": 40}},
        "validation": {"film": {"documents": 8}},
    }
    manifest.write_text(json.dumps(content))
    shutil.move(corpus / "validation", tmp_path / "aside")
    with pytest.raises(InputError, match=r"validation/film: 0 documents, but corpus.json has 8"):
        pretrain(config)
    shutil.move(tmp_path / "aside", corpus / "validation")
    manifest.unlink()
    config.weights = {"laws": 1.0}
    with pytest.raises(InputError, match="weight of laws: no such source; there are film, law"):
        pretrain(config)
    assert not config.output.exists()
    (corpus / ".work").mkdir()  # some tasks of a build have ended, and the disk was full
    with pytest.raises(InputError, match=r"no corpus.json, so the build .* has not finished"):
        pretrain(config)
    config.weights, config.corpus = {}, tmp_path / "nowhere"
    with pytest.raises(InputError, match="nowhere/train: no such folder"):
        pretrain(config)


def test_processes_that_find_different_folders_are_refused(config, monkeypatch):
    def gather(mine):
        ((step, fingerprints, is_shared),) = mine
        assert (step, is_shared) == (0, True)
        return [*mine, (step, fingerprints, False)]

    monkeypatch.setattr("kebyt5.pretraining.pretrain.gather_object", gather)
    with pytest.raises(InputError, match="give folders that all nodes share"):
        pretrain(config)


def test_workers_may_be_started_afresh(config):
    """As on macOS, where what they need is pickled."""
    examples = training_examples(config, Shards(config.corpus / "train"))
    data = pickle.loads(pickle.dumps(TrainingData(examples, 8)))
    collate = pickle.loads(pickle.dumps(_as_it_is))
    batch = TrainingData(examples, 8).__getitems__([5, 2])
    again = collate(data.__getitems__([5, 2]))
    assert all(torch.equal(again[name], batch[name]) for name in batch)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"optimizer": {"type": "Adam"}}, "its own optimizer"),
        ({"scheduler": {"type": "WarmupLR"}}, "its own scheduler"),
        ({"zero_optimization": {"stage": 3}}, "stage3_gather_16bit_weights_on_model_save"),
    ],
)
def test_what_deepspeed_would_decide_otherwise_is_refused(settings, problem):
    with pytest.raises(InputError, match=problem):
        _require_own_optimizer(SimpleNamespace(deepspeed_config=settings))
    _require_own_optimizer(SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 2}}))


def test_a_run_goes_on_only_with_its_own_settings_and_corpus(config, corpus, tmp_path):
    config.output.mkdir()
    (config.output / "config.yaml").touch()  # what a disk that is full from the start leaves
    with pytest.raises(InputError, match="not empty"):
        pretrain(config)
    config.resume = True
    assert pretrain(config).step == 6
    config.learning_rate = 1e-3
    with pytest.raises(InputError, match="other settings than the run began with: learning_rate"):
        pretrain(config)
    config.learning_rate, config.keep_checkpoints = 1e-2, 5
    began = config.output / "config.yaml"
    began.write_text(began.read_text().replace("  short: 0.0\n", ""))  # before it was a setting
    assert pretrain(config).step == 6
    with ShardWriter(corpus / "train" / "law", "1") as writer:
        writer.write("새 문서")
    with pytest.raises(InputError, match="not the shards that the run"):
        pretrain(config)
    for path in (corpus / "train" / "law").glob("1*"):
        path.unlink()
    (corpus / "validation").rename(tmp_path / "validation")
    with pytest.raises(InputError, match="validation: these are not the shards that the run"):
        pretrain(config)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    config.output = tmp_path / "other"
    with pytest.raises(InputError, match="holds no run"):
        pretrain(config)


def test_a_full_disk_is_one_clear_line_and_the_run_can_go_on(config, monkeypatch, tmp_path):
    real = torch.save

    def full(tensors, path, *args, **kwargs):
        if "checkpoint-4" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(tensors, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"checkpoint-4: .* No space .* MiB are free.; make room"):
        pretrain(config)
    assert [p.name for p in config.output.glob("checkpoint-*")] == ["checkpoint-2"]
    monkeypatch.setattr(torch, "save", real)
    config.resume = True

    # At the end, when all training is done.
    def no_room(history, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("kebyt5.pretraining.pretrain.plot_history", no_room)
        with pytest.raises(InputError, match=r"run: cannot be written: No space left.*--resume"):
            pretrain(config)
    assert not (config.output / "model.safetensors").exists()
    assert pretrain(config).step == 6
    config.resume, config.output = False, tmp_path / "whole"
    pretrain(config)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps": 0}, "--steps 0: has to be more than 0"),
        ({"density": 1.5}, "--density 1.5: has to be more than 0 and less than 1"),
        ({"short": -0.1}, "--short -0.1: has to be from 0 to 1"),
        ({"short": 1.5}, "--short 1.5: has to be from 0 to 1"),
        ({"copy": 1.0}, "--copy 1.0: has to be 0 or more and less than 1"),
        ({"early_copy": 1.5, "early_steps": 5}, "--early-copy 1.5: has to be"),
        ({"lookup": 1.0}, "--lookup 1.0: has to be 0 or more and less than 1"),
        ({"early_lookup": -0.1, "early_steps": 5}, "--early-lookup -0.1: has to be"),
        ({"early_copy": 0.5}, "--early-steps: only with --early-copy or --early-lookup"),
        ({"early_lookup": 0.5}, "--early-steps: only with"),
        ({"early_steps": 5}, "--early-steps: only with --early-copy or --early-lookup"),
        ({"mean_span": 0.5}, "--mean-span 0.5"),
        ({"warmup_steps": 100_000}, "--warmup-steps 100000: has to be fewer"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"z_loss": -1.0}, "--z-loss -1.0: has to be 0 or more"),
        ({"seed": -1}, "--seed -1"),
        ({"names": "runs/ner"}, "--names: only with --salient"),
    ],
)
def test_settings_without_sense_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        PretrainConfig(corpus=Path("c"), output=Path("o"), **setting)


def test_a_checkpoint_named_like_a_shape_is_not_passed_over(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config.model = "gbst-kebyt5-tiny"
    (tmp_path / config.model).mkdir()
    (tmp_path / config.model / "config.json").touch()
    with pytest.raises(InputError, match=r"also a shape with random weights; .* \./gbst-kebyt5-"):
        pretrain(config)
