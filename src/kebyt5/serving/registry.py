"""Naming and loading the models of a server."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from transformers import PreTrainedModel

from kebyt5.devices import move
from kebyt5.errors import InputError
from kebyt5.models.loading import load

DEFAULT = "tiny"
"""The checkpoint that is served if none is given: the one shipped with the package."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def parse_checkpoints(checkpoints: Sequence[str]) -> dict[str, str]:
    """Parses checkpoints into a mapping from name to checkpoint.

    Args:
        checkpoints: `NAME=CHECKPOINT`, or a folder or hub name, whose last part becomes the name.
            The name of an existing folder may contain `=`.

    Raises:
        InputError: A name occurs twice, or is not valid.
    """
    named: dict[str, str] = {}
    for text in checkpoints or [DEFAULT]:
        name, given, source = text.partition("=")
        if Path(text).is_dir():
            name, source = Path(text).resolve().name, text
        elif not given:
            name, source = text.split("/")[-1], text
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{text}: {name!r} cannot be a name (letters, digits, '.', '_' and '-'); give one"
                " before it: NAME=CHECKPOINT"
            )
        if name in named:
            raise InputError(
                f"{text}: the name {name} is taken by {named[name]}; give it another one:"
                " NAME=CHECKPOINT"
            )
        named[name] = source
    return named


def load_models(named: Mapping[str, str], device: torch.device) -> dict[str, PreTrainedModel]:
    """Loads checkpoints; equal weights, as in adapters of one base, are kept in memory once.

    Args:
        named: Checkpoints by name.
        device: Where the models compute.

    Raises:
        CheckpointError: One cannot be loaded.
        InputError: One's weights are int8, and the device is no CPU.
    """
    models: dict[str, PreTrainedModel] = {}
    for name, source in named.items():
        model = move(load(source), device)
        for other in models.values():
            share_equal_weights(other, model)
        models[name] = model
    return models


def share_equal_weights(model: PreTrainedModel, other: PreTrainedModel) -> None:
    """Replaces the weights of `other` by those of `model` wherever they are equal."""
    weights = dict(chain(model.named_parameters(), model.named_buffers()))  # int8 are buffers
    for name, weight in chain(other.named_parameters(), other.named_buffers()):
        mine = weights.get(name)
        if mine is not None and mine.dtype == weight.dtype and torch.equal(mine, weight):
            weight.data = mine.data
