"""Counts the floating-point operations of an example."""

from transformers import PreTrainedModel

from kebyt5.models.configuration_gbswt5 import GBSWT5Config


def training_flops(model: PreTrainedModel, input_length: int, target_length: int) -> float:
    """Counts the operations that one example needs at least, forward and backward.

    These are the multiplications and additions of matrix products, including attention; the
    backward pass takes twice as many as the forward pass. Recomputed activations do not count, as
    in model FLOPs utilization (PaLM, appendix B).

    Args:
        model: A plain or a GBST model, not wrapped.
        input_length: Ids of the input.
        target_length: Ids of the target.
    """
    config = model.config
    positions = input_length
    if isinstance(config, GBSWT5Config):
        positions = -(-input_length // config.downsample_factor)
    products = 0  # multiply-adds of the forward pass
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or name.startswith("shared") or "embed_tokens.embeds" in name:
            continue  # lookups and additions
        if "relative_attention_bias" in name:
            continue
        if "embed_tokens" in name and ".proj." not in name:
            continue  # GBST's work on bytes is no matrix product
        if (
            name.startswith("encoder")
            or ".EncDecAttention.k." in name
            or (".EncDecAttention.v." in name)
        ):
            reads = positions
        else:
            reads = target_length
        products += parameter.numel() * reads
    width = config.num_heads * config.d_kv
    products += 2 * width * config.num_layers * positions**2
    products += 2 * width * config.num_decoder_layers * target_length * (target_length + positions)
    return 3 * 2 * products


__all__ = ["training_flops"]
