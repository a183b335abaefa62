"""Checks, YAML and resuming, which pretraining and fine-tuning settings share."""

import math
from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import yaml

from kebyt5.errors import InputError, option
from kebyt5.yaml_files import load_yaml

BEGINNING = ("config.yaml", "corpus.json", "data.json")
"""Files that a run writes before anything else."""

Command = Literal["pretrain", "finetune"]


class RunSettings(Protocol):
    """A dataclass with at least the settings that every training run has."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    output: Path
    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    warmup_steps: int
    cycles: int
    cycle_decay: float
    min_learning_rate: float
    optimizer: Literal["adamw", "adafactor"]
    bf16: bool
    seed: int
    resume: bool


def check_ranges(
    config: RunSettings, positive: Collection[str], not_negative: Collection[str]
) -> None:
    """Refuses numbers that are out of range or not finite, and seeds NumPy does not take.

    Args:
        config: The settings.
        positive: Names of settings that have to be more than 0 if they are given.
        not_negative: Names of settings that have to be 0 or more if they are given.

    Raises:
        InputError: A value is refused; the message names its option.
    """
    for name in (*positive, *not_negative):
        value = getattr(config, name)
        if value is None or (math.isfinite(value) and value > 0):
            continue
        if value != 0 or name in positive:
            least = "more than 0" if name in positive else "0 or more"
            raise InputError(f"{option(name)} {value}: has to be {least}")
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--seed {config.seed}: has to be 0 or more and less than 2 to the 32nd")


def check_schedule(config: RunSettings) -> None:
    """Refuses cycles whose peaks grow, or whose floor lies above the peak.

    Raises:
        InputError: A value is refused; the message names its option.
    """
    if config.min_learning_rate > config.learning_rate:
        raise InputError(
            f"--min-learning-rate {config.min_learning_rate}: is more than --learning-rate"
            f" {config.learning_rate}, the peak"
        )
    if config.cycle_decay > 1:
        raise InputError(f"--cycle-decay {config.cycle_decay}: has to be no more than 1")


def check_warmup(config: RunSettings, steps: int) -> None:
    """Refuses a warm-up that would not end before the run does.

    Raises:
        InputError: The warm-up is too long; the message names its option.
    """
    if config.warmup_steps >= steps:
        raise InputError(
            f"--warmup-steps {config.warmup_steps}: has to be fewer than the {steps} steps"
        )


def to_settings(config: RunSettings) -> dict[str, Any]:
    """Returns the settings as plain values, `resume` always being false."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return {name: plain(value) for name, value in (asdict(config) | {"resume": False}).items()}


def to_yaml(command: Command, config: RunSettings) -> str:
    """Returns the settings as YAML that `--config` accepts."""
    return yaml.safe_dump({command: to_settings(config)}, allow_unicode=True, sort_keys=False)


def read_settings(path: Path, command: Command) -> dict[str, Any]:
    """Reads the settings of a run, as plain values, from a file that `to_yaml` wrote or a preset.

    Raises:
        InputError: The file cannot be read, or has no settings of this command.
    """
    content = load_yaml(path, f"settings of kebyt5 {command}")
    try:
        return dict(content[command])
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: has no settings of kebyt5 {command}; name another file"
        ) from error


def is_resumed(config: RunSettings) -> bool:
    """Whether a run continues what is in its output folder.

    A run that was interrupted while it wrote its first files starts anew.
    """
    output = config.output
    if not config.resume or not output.is_dir():
        return False
    paths = list(output.iterdir())
    return not all(path.name in BEGINNING or path.name.startswith(".") for path in paths)


def require_same_settings(command: Command, config: RunSettings, free: Collection[str]) -> None:
    """Refuses to resume a run with other settings than it began with.

    Args:
        command: The command of the run.
        config: Its current settings.
        free: Names of settings that may differ from those that the run began with.

    Raises:
        InputError: The folder holds something else than a run, or settings differ; the message
            names them.
    """
    output = config.output
    try:
        before = read_settings(output / "config.yaml", command)
    except InputError as error:
        raise InputError(f"{output}: holds no run to resume; name an empty folder") from error
    now = to_settings(config)
    # Settings that did not exist when the run began had their defaults.
    before = {field.name: field.default for field in fields(config)} | before
    changed = [name for name in now if now[name] != before[name] and name not in free]
    if changed:
        raise InputError(
            f"{output}: --resume with other settings than the run began with:"
            f" {', '.join(changed)}; begin a new run for these"
        )
