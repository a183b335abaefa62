"""Draws new weights and sets the dropout of a training run."""

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.t5.modeling_t5 import T5Attention

from kebyt5.errors import InputError
from kebyt5.models.configuration_gbswt5 import GBSWT5Config
from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.models.presets import PRESETS, preset_config


def random_model(shape: str, seed: int, **changes: Any) -> PreTrainedModel:
    """Makes a model with random weights, drawn as in T5 except for the relative position bias.

    T5 draws the bias near zero, and Adam's steps are small compared with the values at which a head
    tells near from far. Training would predict byte frequencies for about a thousand steps, which
    `near_first` saves (docs/log.md).

    Args:
        shape: A name in `PRESETS`.
        seed: Seed of the weights.
        **changes: Configuration values that differ from the preset.

    Raises:
        InputError: There is no such shape.
    """
    if shape not in PRESETS:
        raise InputError(f"{shape}: no such shape; there are {', '.join(PRESETS)}")
    config = preset_config(shape, **changes)
    is_gbst = isinstance(config, GBSWT5Config)
    model_class = GBSWT5ForConditionalGeneration if is_gbst else KEByT5ForConditionalGeneration
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
    for module in model.modules():
        if getattr(module, "has_relative_attention_bias", False):
            near_first(module)
    return model


def near_first(attention: T5Attention) -> None:
    """Initializes an attention's relative bias so that it falls with distance in each head.

    Slopes run geometrically from 1 to 1/64, whatever the number of heads; the idea is that of
    "Train Short, Test Long" (Press et al., ICLR 2022). A bucket of several distances starts with
    their mean.
    """
    weight = attention.relative_attention_bias.weight
    buckets, heads = weight.shape
    farthest = attention.relative_attention_max_distance
    offsets = torch.arange(-farthest, 1 if attention.is_decoder else farthest + 1)
    bucket = attention._relative_position_bucket(
        offsets, not attention.is_decoder, buckets, farthest
    )
    distances = torch.zeros(buckets).scatter_reduce(
        0, bucket, offsets.abs().float(), "mean", include_self=False
    )
    slopes = 4.0 ** -torch.linspace(0, 3, heads)
    with torch.no_grad():
        weight.copy_(-distances[:, None] * slopes)


def set_dropout(model: PreTrainedModel, rate: float) -> None:
    """Sets the dropout rate of all modules, but not of the configuration."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = rate  # the attention's, applied as a function
