"""One checkpoint made of several: the mean of fine-tuned models, adapters folded into their base.

The mean of models fine-tuned from one checkpoint is often better than each of them (Wortsman et
al. 2022, "Model soups", arXiv:2203.05482).
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from .loading import CheckpointError, load_float

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

    Sums accumulate in float64. Checkpoints are read one after the other, and the first once more to
    take the sums, so memory is that of one model in float32 and one in float64 (12 bytes a
    parameter), however many there are.

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
    total: dict[str, Tensor] = {}
    first: _Architecture | None = None
    for checkpoint, share in zip(checkpoints, shares, strict=True):
        model = load_float(checkpoint)
        architecture = _Architecture.of(model)
        first = first or architecture
        difference = _first_difference(first, architecture)
        if difference:
            raise ValueError(
                f"{checkpoint}: not the architecture of {checkpoints[0]}: {difference}"
            )
        _add(total, model, share)
        del model  # or the next one would be read beside it
    merged = load_float(checkpoints[0])
    merged.load_state_dict(total)
    return merged


def base_of_adapter(checkpoint: str | os.PathLike[str]) -> str | None:
    """The model that an adapter's folder belongs to; None for any other checkpoint."""
    path = Path(checkpoint) / "adapter_config.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: names no base model; the file is damaged") from error


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


class _Architecture(NamedTuple):
    """What a checkpoint has to share with another: the shapes of its tensors and its settings."""

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
        # Not from zero on, which would turn the sign of a negative one.
        total[name] = total[name].add_(part) if name in total else part


def _first_difference(one: _Architecture, other: _Architecture) -> str | None:
    """What keeps the mean of two models from being a model, in words; None for nothing."""
    for name in {**one.shapes, **other.shapes}:
        here, there = (each.shapes.get(name, "missing") for each in (other, one))
        if here != there:
            return f"tensor {name} is {here} here and {there} there"
    for name in sorted({*one.settings, *other.settings} - _MAY_DIFFER):
        setting, other_setting = (each.settings.get(name) for each in (one, other))
        if setting != other_setting:
            return f"{name} of config.json is {other_setting!r} here and {setting!r} there"
    return None


__all__ = ["base_of_adapter", "merge", "merge_card"]
