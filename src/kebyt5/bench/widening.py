r"""Widening a small trained model to a larger shape that computes the same function.

A benchmark of copying needs a model of the given size that copies, which random weights do not.
Like Net2Net (Chen et al. 2016, arXiv:1511.05641), this makes a trained network wider and deeper
without changing its outputs:

* New dimensions of embeddings and of the outputs of blocks are zero. T5's norm then divides by a
  mean square over more dimensions, which is smaller by their ratio, so its weight is multiplied by
  the square root of that ratio.
* New heads and feed-forward units are random, but the weights that read them are zero.
* New layers are random, but add zero to the residual stream.

Every product has the larger shape and is computed in full; its time does not depend on the numbers
in it.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel, T5Config

from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration

_WRITERS = (".o.weight", ".wo.weight")
"""Weights whose output is added to the residual stream."""

_SEED = 0


def widened(model: PreTrainedModel, config: T5Config) -> dict[str, Tensor]:
    """Returns parameters of a larger shape that compute the same as a model, up to rounding.

    Args:
        model: The small GBST model.
        config: The larger shape, with the same GBST blocks and d_kv.

    Raises:
        ValueError: The shape is smaller in some dimension, or of another kind.
    """
    small = model.config
    for name in ("d_model", "d_ff", "num_heads", "num_layers", "num_decoder_layers"):
        if getattr(config, name) < getattr(small, name):
            raise ValueError(f"its {name} is {getattr(small, name)}, above {getattr(config, name)}")
    for name in ("d_kv", "blocks", "downsample_factor", "feed_forward_proj", "vocab_size"):
        if (own := getattr(small, name, None)) != (needed := getattr(config, name)):
            raise ValueError(f"its {name} is {own}, not {needed}")
    torch.manual_seed(_SEED)
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
    """Widens one parameter: the small one becomes the corner of a random or zero one."""
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
