"""Fine-tuning that keeps only the encoder of a pretrained model."""

import copy

import torch
from transformers import PreTrainedModel

from kebyt5.training.initialization import near_first


def renew_decoder(model: PreTrainedModel, seed: int) -> list[str]:
    """Gives the decoder, and `lm_head` where it is not the byte embedding, new random weights.

    A label's first byte has to summarize the whole text. The decoder of a small model, pretrained
    to write what fits a blank, learns that more slowly than a fresh one (docs/log.md). EncT5 (Liu
    et al., 2021, sec. 3) uses a fresh decoder as well to classify with T5's encoder.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        seed: Seed of the weights.

    Returns:
        The names of the renewed parameters.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config))
    for module in fresh.decoder.modules():
        if getattr(module, "has_relative_attention_bias", False):
            near_first(module)
    drawn = dict(fresh.named_parameters())
    parameters = dict(model.named_parameters())  # lists a shared weight only once, as `shared`
    renewed = [name for name in parameters if name.startswith(("decoder.", "lm_head."))]
    with torch.no_grad():
        for name in renewed:
            parameters[name].copy_(drawn[name])
    return renewed
