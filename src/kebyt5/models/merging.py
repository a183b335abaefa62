"""One checkpoint made of several: the mean of fine-tuned models, adapters folded into their base.

The mean of models fine-tuned from one checkpoint is often better than each of them (Wortsman et
al. 2022, "Model soups", arXiv:2203.05482).
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from .loading import load_float

# What two checkpoints of one architecture may differ in: names, versions, settings of training.
_MAY_DIFFER = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "classifier_dropout",
    "dropout_rate",
    "dtype",
    "transformers_version",
    "use_cache",
    "z_loss",
}

CARD = """\
---
language: ko
library_name: kebyt5
base_model:
{as_yaml}
base_model_relation: merge
tags: [kebyt5, byte-level]
---

# {title}

Reads and writes UTF-8 bytes; needs no tokenizer files. Weights are float32.

| part | share |
|---|---|
{rows}

| | |
|---|---|
| command | `{command}` |
| date | {date} |
| commit | {commit} |

The licence follows from the parts.
"""


def merge(
    checkpoints: Sequence[str | os.PathLike[str]], weights: Sequence[float] | None = None
) -> PreTrainedModel:
    """Folds an adapter into its base, or averages the tensors of several checkpoints.

    Sums accumulate in float64. Checkpoints are read one after the other, so memory is that of one
    model in float32 and one in float64, however many there are.

    Args:
        checkpoints: Folders or names on the hub; an adapter counts as its base with it folded in.
        weights: How much each counts, more than 0; only their ratios matter. Equal if not given.

    Returns:
        The merged model in float32 and evaluation mode.

    Raises:
        ValueError: There is nothing to merge, a weight is missing or not positive, or the
            checkpoints are not of one architecture; names their first difference.
        CheckpointError: A checkpoint cannot be loaded, or its weights have eight bits.
    """
    shares = _shares(checkpoints, weights)
    if len(checkpoints) == 1:
        if base_of_adapter(checkpoints[0]) is None:
            raise ValueError(
                f"{checkpoints[0]}: no adapter, so there is nothing to merge; give an adapter's"
                " folder or several checkpoints"
            )
        return load_float(checkpoints[0])
    first = load_float(checkpoints[0])
    total = {name: shares[0] * tensor.double() for name, tensor in first.state_dict().items()}
    for checkpoint, share in zip(checkpoints[1:], shares[1:], strict=True):
        model = load_float(checkpoint)
        difference = _first_difference(first, model)
        if difference:
            raise ValueError(
                f"{checkpoint}: not the architecture of {checkpoints[0]}: {difference}"
            )
        for name, tensor in model.state_dict().items():
            total[name] += share * tensor.double()
    with torch.no_grad():
        for name, tensor in first.state_dict().items():
            tensor.copy_(total[name])
    return first


def base_of_adapter(checkpoint: str | os.PathLike[str]) -> str | None:
    """The model that an adapter's folder belongs to; None for any other checkpoint."""
    path = Path(checkpoint) / "adapter_config.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: names no base model; the file is damaged") from error


def merge_card(
    checkpoints: Sequence[str | os.PathLike[str]],
    weights: Sequence[float] | None,
    made: Mapping[str, Any],
) -> str:
    """Writes the card of a merged model.

    Args:
        checkpoints: Its parts.
        weights: As for `merge`.
        made: The command, date and commit of its making.
    """
    parts = []
    for checkpoint, share in zip(checkpoints, _shares(checkpoints, weights), strict=True):
        base = base_of_adapter(checkpoint)
        name = f"`{checkpoint}`" + (f", an adapter folded into `{base}`" if base else "")
        parts.append(f"| {name} | {share:.4g} |")
    count = len(checkpoints)
    return CARD.format(
        as_yaml="\n".join(f"- {json.dumps(str(c), ensure_ascii=False)}" for c in checkpoints),
        title=f"Mean of {count} checkpoints" if count > 1 else f"{checkpoints[0]}, merged",
        rows="\n".join(parts),
        **{key: made[key] for key in ("command", "date", "commit")},
    )


def _shares(
    checkpoints: Sequence[str | os.PathLike[str]], weights: Sequence[float] | None
) -> list[float]:
    weights = [1.0] * len(checkpoints) if weights is None else weights
    if len(weights) != len(checkpoints):
        raise ValueError(f"{len(weights)} weights for {len(checkpoints)} checkpoints; give as many")
    for weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"weight {weight:g}: has to be more than 0; leave the checkpoint out")
    return [weight / sum(weights) for weight in weights]


def _first_difference(one: PreTrainedModel, other: PreTrainedModel) -> str | None:
    """What keeps the mean of two models from being a model, in words; None for nothing."""
    shapes, other_shapes = (
        {name: "×".join(map(str, tensor.shape)) for name, tensor in model.state_dict().items()}
        for model in (one, other)
    )
    for name in {**shapes, **other_shapes}:
        here, there = (s.get(name, "missing") for s in (other_shapes, shapes))
        if here != there:
            return f"tensor {name} is {here} here and {there} there"
    settings, other_settings = (model.config.to_dict() for model in (one, other))
    for name in sorted({*settings, *other_settings} - _MAY_DIFFER):
        here, there = (s.get(name) for s in (other_settings, settings))
        if here != there:
            return f"{name} of config.json is {here!r} here and {there!r} there"
    return None


__all__ = ["base_of_adapter", "merge", "merge_card"]
