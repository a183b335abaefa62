"""Merges checkpoints: averages fine-tuned models, folds adapters into their base models.

The mean of models fine-tuned from one checkpoint is often better than each of them (Wortsman et
al. 2022, "Model soups", arXiv:2203.05482).
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from kebyt5.errors import InputError

from .loading import base_of_adapter, load_float

# Config keys in which checkpoints of one architecture may differ: names, versions, training.
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

    Sums accumulate in float64. Checkpoints are read one after the other, and the first once more to
    receive the sums, so the memory is that of one model in float32 and one in float64 (12 bytes per
    parameter), however many there are.

    Args:
        checkpoints: Folders or names on the hub; an adapter is folded into its base first.
        weights: Weight of each checkpoint, more than 0; only ratios matter. Equal if not given.

    Returns:
        The merged model in float32 and evaluation mode.

    Raises:
        InputError: There is nothing to merge, a weight is missing or not positive, or the
            checkpoints differ in architecture; the message names the first difference.
        CheckpointError: A checkpoint cannot be loaded, or its weights are int8.
    """
    shares = _shares(checkpoints, weights)
    if len(checkpoints) == 1:
        if base_of_adapter(checkpoints[0]) is None:
            raise InputError(
                f"{checkpoints[0]}: not an adapter, so there is nothing to merge; give an adapter's"
                " folder or several checkpoints"
            )
        return load_float(checkpoints[0])
    total: dict[str, Tensor] = {}
    first: _Architecture | None = None
    for checkpoint, share in zip(checkpoints, shares, strict=True):
        model = load_float(checkpoint)
        architecture = _Architecture.of(model)
        first = first or architecture
        difference = _first_difference(first, architecture)
        if difference:
            raise InputError(
                f"{checkpoint}: not the architecture of {checkpoints[0]}: {difference}"
            )
        _add(total, model, share)
        del model  # or it would still be in memory when the next one is read
    merged = load_float(checkpoints[0])
    merged.load_state_dict(total)
    return merged


def merge_card(
    checkpoints: Sequence[str | os.PathLike[str]],
    weights: Sequence[float] | None,
    made: Mapping[str, Any],
) -> str:
    """Writes the card of a merged model.

    Args:
        checkpoints: Folders or names of the parts.
        weights: Weights of the parts, as for `merge`.
        made: Command, date and commit that made the model.
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
        raise InputError(f"{len(weights)} weights for {len(checkpoints)} checkpoints; give as many")
    for weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"weight {weight:g}: has to be more than 0; leave the checkpoint out")
    largest = max(weights)  # so that the sum is finite
    parts = [weight / largest for weight in weights]
    return [part / sum(parts) for part in parts]


class _Architecture(NamedTuple):
    """Shapes of tensors and config settings, which merged checkpoints have to share."""

    shapes: dict[str, str]
    settings: dict[str, Any]

    @classmethod
    def of(cls, model: PreTrainedModel) -> "_Architecture":
        tensors = model.state_dict().items()
        shapes = {name: "×".join(map(str, tensor.shape)) for name, tensor in tensors}
        return cls(shapes, model.config.to_dict())


def _add(total: dict[str, Tensor], model: PreTrainedModel, share: float) -> None:
    for name, tensor in model.state_dict().items():
        part = share * tensor.double()
        # Not added to zero, which would lose the sign of -0.0.
        total[name] = total[name].add_(part) if name in total else part


def _first_difference(one: _Architecture, other: _Architecture) -> str | None:
    """Describes the first difference between two architectures; None if there is none."""
    for name in {**one.shapes, **other.shapes}:
        here, there = (each.shapes.get(name, "missing") for each in (other, one))
        if here != there:
            return f"tensor {name} is {here} here and {there} there"
    for name in sorted({*one.settings, *other.settings} - _MAY_DIFFER):
        setting, other_setting = (each.settings.get(name) for each in (one, other))
        if setting != other_setting:
            return f"{name} of config.json is {other_setting!r} here and {setting!r} there"
    return None
