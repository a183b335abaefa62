"""Fine-tuning that keeps of pretraining the encoder alone."""

import copy

import torch
from transformers import PreTrainedModel

from kebyt5.training.initialization import near_first


def renew_decoder(model: PreTrainedModel, seed: int) -> list[str]:
    """Gives the decoder, and `lm_head` where it is not the byte embedding, new random weights.

    A label says what the whole text is, at its first byte. The decoder of a small model, which has
    learnt to write what stands around a blank, learns that more slowly than one that has learnt
    nothing (docs/log.md). EncT5 (Liu et al., 2021, sec. 3) does so to classify with T5's encoder.

    Args:
        model: KEByT5, GBST-KEByT5 or ByT5.
        seed: Decides the weights.

    Returns:
        The names of the parameters.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config))
    for module in fresh.decoder.modules():
        if getattr(module, "has_relative_attention_bias", False):
            near_first(module)
    drawn = dict(fresh.named_parameters())
    parameters = dict(model.named_parameters())  # names what is shared only once, as `shared`
    renewed = [name for name in parameters if name.startswith(("decoder.", "lm_head."))]
    with torch.no_grad():
        for name in renewed:
            parameters[name].copy_(drawn[name])
    return renewed


__all__ = ["renew_decoder"]
