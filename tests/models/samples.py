"""Small models with random weights."""

import torch
from transformers import T5Config

from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration


def plain_model(stack, scale, num_layers=1, num_decoder_layers=1, **changes):
    """A plain model; norms and biases of its `stack`, encoder or decoder, are random as well.

    All norms of a new model are ones, and its biases next to zero.
    """
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=384,
        num_layers=num_layers,
        num_decoder_layers=num_decoder_layers,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
        **{"feed_forward_proj": "gated-gelu"} | changes,
    )
    model = KEByT5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in getattr(model, stack).named_parameters():
            if parameter.dim() == 1 or "relative" in name:
                parameter.add_(torch.randn_like(parameter) * scale)
    return model


def of_a_library(hook):
    """Makes a hook one of those that shard or move modules, with which padding stays left out."""
    hook.__module__ = "torch.distributed.fsdp"
    return hook
