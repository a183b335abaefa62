"""Comparing the curves of pretraining runs after equal steps, and after equal time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.bench.measure import interleave
from kebyt5.corpus.shards import Shards
from kebyt5.errors import InputError
from kebyt5.models.presets import PRESETS
from kebyt5.models.tokenization_kebyt5 import PAD
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.history import read_history
from kebyt5.pretraining.pretrain import training_examples
from kebyt5.training.initialization import set_dropout
from kebyt5.training.settings import read_settings


@dataclass(frozen=True)
class Curve:
    """Bits per byte of a run on the validation text of its corpus.

    Attributes:
        name: Name of the run.
        steps: Steps at which it was measured, ascending.
        bits: Bits per byte at these steps.
        step_seconds: Seconds that a step takes.
    """

    name: str
    steps: Sequence[int]
    bits: Sequence[float]
    step_seconds: float

    @property
    def seconds(self) -> float:
        """Training time of the whole run in seconds."""
        return self.steps[-1] * self.step_seconds

    def at_step(self, step: float) -> float | None:
        """Returns the bits per byte at a step, interpolated linearly; None after the last step."""
        if step > self.steps[-1]:
            return None
        return float(np.interp(step, self.steps, self.bits))

    def at_second(self, seconds: float) -> float | None:
        """Returns the bits per byte after some training time; None after the end of the run."""
        return self.at_step(seconds / self.step_seconds)


def reference(curves: Sequence[Curve]) -> Curve:
    """Chooses the run at whose end the others are compared: the longest one of the slowest.

    After as many steps, all runs have read the same text; after as much time, faster ones have read
    more.
    """
    return max(curves, key=lambda curve: (curve.step_seconds, curve.steps[-1]))


def comparable(settings: Mapping[str, PretrainConfig]) -> dict[str, PretrainConfig]:
    """Selects the runs that began with random weights, or all runs if none did.

    A run that began with a checkpoint was trained for more steps than its own.
    """
    at_random = {name: own for name, own in settings.items() if own.model in PRESETS}
    return at_random or dict(settings)


def read_config(run: Path) -> PretrainConfig:
    """Reads the settings of a pretraining run.

    Raises:
        InputError: The folder has no valid `config.yaml`.
    """
    path = run / "config.yaml"
    settings = read_settings(path, "pretrain")
    try:
        paths = {name: Path(settings[name]) for name in ("corpus", "output")}
        return PretrainConfig(**(settings | paths))
    except (LookupError, TypeError, InputError) as error:
        raise InputError(f"{path}: not the settings of a pretraining run: {error}") from error


def read_curves(runs: dict[str, Path], step_seconds: dict[str, float]) -> list[Curve]:
    """Reads the curves of the runs that measured bits per byte during training."""
    curves = []
    for name, run in runs.items():
        points = [
            (entry["step"], entry["bits_per_byte"]["all"])
            for entry in read_history(run / "history.jsonl")
            if "bits_per_byte" in entry
        ]
        if points:
            steps, bits = zip(*points, strict=True)
            curves.append(Curve(name, steps, bits, step_seconds[name]))
    return curves


def measure_steps(
    models: dict[str, PreTrainedModel], settings: dict[str, PretrainConfig], shards: Shards,
    rounds: int,
) -> dict[str, float]:  # fmt: skip
    """Measures the median seconds of a training step of each model, interleaved.

    The times in the runs' own histories depend on what else the machine did.

    Args:
        models: Models by name; they are modified.
        settings: Settings of their runs by name.
        shards: Text to train on.
        rounds: Number of timed steps of each model, after one warm-up step.
    """
    steps = {name: training_step(models[name], settings[name], shards) for name in models}
    return {name: float(np.median(times)) for name, times in interleave(steps, rounds).items()}


def training_step(
    model: PreTrainedModel, config: PretrainConfig, shards: Shards
) -> Callable[[], None]:
    """Makes a training step of a run, always on the same examples and without data loading.

    Names are not looked for: its time hardly depends on which bytes are masked, and the checkpoint
    that finds them may be gone.
    """
    examples = training_examples(replace(config, names=None), shards)
    batch = examples.batch(range(config.batch_size))
    inputs, labels = map(torch.from_numpy, batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    set_dropout(model, 0.0)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        parts = zip(
            inputs.split(config.device_batch_size),
            labels.split(config.device_batch_size),
            strict=True,
        )
        for input_ids, targets in parts:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                mask = input_ids.ne(PAD).long()
                loss = model(input_ids=input_ids, attention_mask=mask, labels=targets).loss
            (loss * len(input_ids) / config.batch_size).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()

    return step
