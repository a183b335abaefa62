"""A run goes on in a folder of its own kind and settings, and in no other."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kebyt5.errors import InputError
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.training.settings import (
    is_resumed,
    read_settings,
    require_same_settings,
    to_settings,
    to_yaml,
)


@pytest.fixture
def configs(tmp_path):
    """Settings of both kinds that resume in the same folder, by command."""
    output = tmp_path / "run"
    (output / "checkpoint-1").mkdir(parents=True)
    return {
        "pretrain": PretrainConfig(
            corpus=tmp_path, output=output, weights={"law": 0.5}, min_learning_rate=1e-7,
            resume=True,
        ),
        "finetune": FinetuneConfig(
            task=["ner"], train=[tmp_path / "a"], dev=[tmp_path / "b"], output=output, resume=True
        ),
    }  # fmt: skip


COMMANDS = pytest.mark.parametrize("command", ["pretrain", "finetune"])


@COMMANDS
def test_settings_in_yaml_are_those_of_the_run(configs, command):
    settings = to_settings(configs[command])
    assert yaml.safe_load(to_yaml(command, configs[command])) == {command: settings}
    assert not settings["resume"]
    assert settings["output"] == str(configs[command].output)


@COMMANDS
def test_a_run_goes_on_with_the_settings_it_began_with(configs, command):
    config = configs[command]
    began = config.output / "config.yaml"
    began.write_text(to_yaml(command, config))
    assert is_resumed(config)
    require_same_settings(command, config, ())
    settings = yaml.safe_load(began.read_text())[command]
    del settings["warmup_steps"]  # before it was a setting
    began.write_text(yaml.safe_dump({command: settings}))
    require_same_settings(command, config, ())
    config.seed, config.bf16 = 7, True
    with pytest.raises(InputError, match="than the run began with: bf16, seed; begin"):
        require_same_settings(command, config, ())
    with pytest.raises(InputError, match="than the run began with: seed; begin"):
        require_same_settings(command, config, ("bf16",))
    config.resume = False
    assert not is_resumed(config)


@COMMANDS
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"min_learning_rate": 1.0}, "--min-learning-rate 1.0: is more than --learning-rate"),
        ({"cycle_decay": 1.5}, "--cycle-decay 1.5: has to be no more than 1"),
    ],
)
def test_schedules_without_sense_are_refused(configs, command, setting, message):
    with pytest.raises(InputError, match=message):
        replace(configs[command], **setting)


@COMMANDS
@pytest.mark.parametrize(
    "content", [None, "", "[]", "3", "other: {}", "{}", "pretrain:\nfinetune: 3", "a: [", "\xff"]
)
def test_what_is_no_run_of_the_command_is_refused_in_a_line(configs, command, content):
    config = configs[command]
    if content is not None:
        (config.output / "config.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="run: holds no run to resume; name an empty folder"):
        require_same_settings(command, config, ())


@COMMANDS
def test_settings_are_read_as_they_were_written(configs, command, tmp_path):
    config, path = configs[command], tmp_path / "config.yaml"
    path.write_text(to_yaml(command, config))
    assert read_settings(path, command) == to_settings(config)
    (other,) = configs.keys() - {command}
    with pytest.raises(InputError, match=f"config.yaml: has no settings of kebyt5 {other}"):
        read_settings(path, other)


@COMMANDS
def test_a_run_of_the_other_command_is_refused(configs, command):
    (other,) = configs.keys() - {command}
    (configs[command].output / "config.yaml").write_text(to_yaml(other, configs[other]))
    with pytest.raises(InputError, match="holds no run to resume"):
        require_same_settings(command, configs[command], ())


@COMMANDS
@pytest.mark.parametrize("names", [[], ["config.yaml"], ["corpus.json", ".incomplete"]])
def test_of_what_has_but_begun_nothing_is_left_to_go_on_with(configs, command, names):
    config = configs[command]
    (config.output / "checkpoint-1").rmdir()
    for name in names:
        (config.output / name).touch()
    assert not is_resumed(config)
    config.output = Path("nowhere")
    assert not is_resumed(config)
