r"""A small trained model inside a larger shape, computing the same function.

A benchmark of copying needs a model of the size in question that does copy, and random weights do
not. Chen et al. (2016, "Net2Net", arXiv:1511.05641) make a trained network wider and deeper so that
its outputs stay: here, too, all that is added writes nothing.

* More dimensions: what is added to embeddings and to all that blocks write is zero. T5's norm then
  divides by a mean square over more dimensions, smaller by their ratio, so its weight is multiplied
  by the square root of that.
* More heads and more of the feed-forward layer: random, but what reads them is zero.
* More layers: random, but they add zero to the residual stream.

Every product has the larger shape and is computed in full; nothing about the time of one depends on
the numbers in it.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel, T5Config

from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration

_WRITERS = (".o.weight", ".wo.weight")
"""What adds to the residual stream."""


def widened(model: PreTrainedModel, config: T5Config, seed: int = 0) -> dict[str, Tensor]:
    """The parameters of a larger shape that computes what a GBST model does, but for rounding.

    Args:
        model: The small one.
        config: The larger shape; the same GBST blocks and d_kv.
        seed: Of what is added.

    Raises:
        ValueError: The shape is in some way smaller, or not of the same kind.
    """
    small = model.config
    for name in ("d_model", "d_ff", "num_heads", "num_layers", "num_decoder_layers"):
        if getattr(config, name) < getattr(small, name):
            raise ValueError(f"its {name} is {getattr(small, name)}, above {getattr(config, name)}")
    for name in ("d_kv", "blocks", "downsample_factor", "feed_forward_proj", "vocab_size"):
        if (own := getattr(small, name, None)) != (needed := getattr(config, name)):
            raise ValueError(f"its {name} is {own}, not {needed}")
    torch.manual_seed(seed)
    with torch.no_grad():
        large = GBSWT5ForConditionalGeneration(config)
        values = {name: value.clone() for name, value in large.state_dict().items()}
        for name, value in model.state_dict().items():
            values[name] = _widen(name, value.float(), values[name], small.d_model)
        for name, value in values.items():
            if name.endswith(_WRITERS) and name not in model.state_dict():
                value.zero_()
    return values


def _widen(name: str, value: Tensor, added: Tensor, d_model: int) -> Tensor:
    """One parameter: the small one in the corner of what is random or zero."""
    corner = tuple(slice(0, size) for size in value.shape)
    if name.endswith("layer_norm.weight"):
        result = torch.ones_like(added)
        value = value * (d_model / len(added)) ** 0.5
    elif name == "lm_head.weight" or (".block." in name and not name.endswith(_WRITERS)):
        result = added
    else:
        result = torch.zeros_like(added)
    result[corner] = value
    return result


__all__ = ["widened"]
