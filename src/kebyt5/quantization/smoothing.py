"""Evens out channels before quantization: SmoothQuant (Xiao et al. 2023).

A few channels of a layer's input are far larger than the rest and, since a row has one scale, leave
the others only few steps. Dividing a channel and multiplying the weights that read it by the same
factor changes no output; here factors are powers of two, so in floating point the outputs are
exactly the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.t5.modeling_t5 import T5DenseGatedActDense


class Channels(NamedTuple):
    """K channels between a layer that writes them and layers that read them.

    Attributes:
        writer: The weight (K,) of a norm or (K, D) of a linear layer, with a row per channel.
        readers: Layers with weights (N, K), a column per channel; all read the same input.
    """

    writer: nn.Parameter
    readers: Sequence[nn.Linear]


def channels_of(model: PreTrainedModel) -> Iterator[Channels]:
    """Yields the channels of a model's blocks that can be scaled without changing outputs.

    The channels of the encoder's output are left out, since it serves as a text embedding.
    """
    for stack in (model.encoder, model.decoder):
        for block in stack.block:
            for layer in block.layer:
                yield from _channels_of_layer(layer)


def _channels_of_layer(layer: Any) -> Iterator[Channels]:
    norm = layer.layer_norm.weight
    if hasattr(layer, "DenseReluDense"):
        module = layer.DenseReluDense
        if isinstance(module, T5DenseGatedActDense):
            yield Channels(norm, [module.wi_0, module.wi_1])
            yield Channels(module.wi_1.weight, [module.wo])
        return
    if hasattr(layer, "SelfAttention"):
        attention = layer.SelfAttention
        yield Channels(norm, [attention.q, attention.k, attention.v])
    else:
        attention = layer.EncDecAttention
        yield Channels(norm, [attention.q])
    yield Channels(attention.v.weight, [attention.o])


@torch.no_grad()
def smooth(model: PreTrainedModel, batches: Iterable[dict[str, Tensor]]) -> None:
    r"""Evens out the channels of a model, in place, by their size in some examples.

    Channel j is divided by $\sqrt{\max |X_j| / \max |W_j|}$ (equation 4 with $\alpha = 1/2$),
    rounded to a power of two.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model, not quantized, in evaluation mode.
        batches: Arguments of the model: `input_ids` (B, L), `attention_mask` (B, L) and `labels`
            (B, T). Without any batch nothing changes.
    """
    every = list(channels_of(model))
    largest = [torch.zeros(each.readers[0].in_features, device=model.device) for each in every]
    handles = []
    for each, most in zip(every, largest, strict=True):

        def note(module: nn.Module, inputs: tuple[Tensor], most: Tensor = most) -> None:
            rows = inputs[0].detach().float().abs().flatten(0, -2)
            torch.maximum(most, rows.amax(dim=0), out=most)

        handles.append(each.readers[0].register_forward_pre_hook(note))
    try:
        for batch in batches:
            model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    for each, most in zip(every, largest, strict=True):
        weights = torch.stack([reader.weight.abs().amax(dim=0) for reader in each.readers])
        ratio = (most / weights.amax(dim=0)).sqrt()
        scale = torch.exp2(ratio.log2().round().nan_to_num(0, 0, 0))
        each.writer.div_(scale if each.writer.dim() == 1 else scale[:, None])
        for reader in each.readers:
            reader.weight.mul_(scale)
