"""Freezes parameters in fine-tuning."""

from transformers import PreTrainedModel

from kebyt5.finetuning.config import Freeze

GBST_PARAMETERS = (
    "positional_convol.2.convol.weight",
    "positional_convol.2.convol.bias",
    "positional_convol.2.proj.weight",
    "positional_convol.2.proj.bias",
    "cand_scoring.0.weight",
    "cand_scoring.0.bias",
)
"""Parameters that the published runs froze, below `encoder.embed_tokens.`. Their list also names
`embeds.weight`, but that is `shared.weight`, which in effect stayed trainable."""


def freeze(model: PreTrainedModel, what: Freeze) -> list[str]:
    """Stops gradients to GBST, or to GBST and the shared byte embedding.

    Args:
        model: A GBST model; of a plain one, "gbst" freezes nothing.
        what: "none", "gbst" for GBST's six tensors, or "gbst+embedding" to add `shared.weight`.

    Returns:
        The names of the frozen parameters.
    """
    names = [f"encoder.embed_tokens.{name}" for name in GBST_PARAMETERS]
    if what == "gbst+embedding":
        names.append("shared.weight")
    if what == "none":
        names = []
    parameters = dict(model.named_parameters())
    frozen = [name for name in names if name in parameters]
    for name in frozen:
        parameters[name].requires_grad = False
    return frozen
