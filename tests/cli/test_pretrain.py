"""`kebyt5 pretrain` on the command line: a preset, its errors, its exit codes."""

from functools import partial
from itertools import chain

import pytest

import kebyt5
from kebyt5.corpus.shards import ShardWriter


@pytest.fixture
def run(run):
    return partial(run, "pretrain")


@pytest.fixture
def options(tmp_path, checkpoint):
    with ShardWriter(tmp_path / "corpus" / "train" / "film", "0") as writer:
        writer.write("어제 김하늘 씨가 3시에 왔다. " * 100)
    return {
        "--corpus": tmp_path / "corpus", "--output": tmp_path / "run", "--model": checkpoint,
        "--input-length": 64, "--batch-size": 2, "--warmup-steps": 0, "--peak-tflops": 1,
    }  # fmt: skip


def test_a_run_and_one_that_goes_on(run, options, checkpoint, tmp_path):
    options |= {"--steps": 3, "--weights.film": 2, "--names": checkpoint}
    given = [*chain(*options.items()), "--salient"]
    code, out, _ = run(*given, "--minutes", "1e-9")
    assert code == 0
    assert "Stopped after step 1 with a checkpoint; --resume continues from there" in out
    code, out, _ = run("--config", tmp_path / "run" / "config.yaml", "--resume")
    assert code == 0
    assert "Stopped after step 2" in out  # the time limit is one of the settings
    code, out, error = run(*given, "--resume")
    assert code == 0, error
    assert f"Written to {tmp_path / 'run'}" in out
    assert kebyt5.load(tmp_path / "run").config.z_loss == 1e-4


def test_a_weight_on_the_command_line_leaves_the_others_of_a_preset(run, options, tmp_path):
    preset = tmp_path / "preset.yaml"
    preset.write_text("pretrain: {weights: {film: -1, law: 1}}")
    code, _, error = run("--config", preset, *chain(*options.items()), "--weights.film", 2)
    assert code == 2
    assert "weight of law: no such source; there are film" in error


def test_a_path_of_a_preset_may_begin_at_home(run, options, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    preset = tmp_path / "preset.yaml"
    preset.write_text("pretrain: {corpus: ~/nowhere}")
    del options["--corpus"]
    code, _, error = run("--config", preset, *chain(*options.items()))
    assert code == 2
    assert f"error: {tmp_path / 'nowhere'}/" in error


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"--steps": 0}, "--steps 0: has to be more than 0"),
        ({"--weights.law": 1}, "weight of law: no such source; there are film"),
        ({"--model": "nowhere/at/all"}, "nowhere/at/all: no such folder"),
        ({"--downsample": 2}, "gets no new GBST"),
        ({"--input-length": 8}, "input length 8: has to be 32 or more"),
    ],
)
def test_mistakes_are_one_line(run, options, wrong, message):
    code, _, error = run(*chain(*(options | wrong).items()))
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
