"""The plain KEByT5 and ByT5 models: T5 whose `lm_head` is tied only if the checkpoint says so."""

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration, T5PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils.generic import can_return_tuple

from .attention import BLOCKWISE
from .stack import ByteStack, T5InitializationMixin, decoder_config, encoder_config

IGNORED = -100
"""Label where no loss is taken: the one that Transformers and PyTorch ignore."""


class ByteModelMixin(T5InitializationMixin):
    """Mixin for what plain and GBST models do differently from models of Transformers."""

    config: T5Config
    _tied_weights_keys: ClassVar[dict[str, str] | None]
    all_tied_weights_keys: dict[str, str]

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Ties the byte embedding everywhere, but to `lm_head` only if the config says so.

        Transformers 5 ties all or nothing, and its T5 always ties all.
        """
        if all_submodels:
            return super().get_expanded_tied_weights_keys(all_submodels=True)  # type: ignore[misc]
        keys = dict(self._tied_weights_keys or {})
        if not self.config.tie_word_embeddings:
            keys.pop("lm_head.weight", None)
        return keys

    def tie_weights(
        self, missing_keys: set[str] | None = None, recompute_mapping: bool = True
    ) -> None:
        """Ties weights; refuses a checkpoint that Transformers would leave partly untied.

        Raises:
            ValueError: It has different tensors where its config says that they are one.
        """
        super().tie_weights(missing_keys, recompute_mapping)  # type: ignore[misc]
        if missing_keys is None:  # no checkpoint is being loaded
            return
        tied = self.get_expanded_tied_weights_keys()
        for name in tied.keys() - self.all_tied_weights_keys:
            raise ValueError(
                f"{name} and {tied[name]} differ, but are one by the config; it belongs to another"
                " checkpoint, or an argument such as tie_word_embeddings has changed it"
            )

    def get_correct_attn_implementation(
        self, requested_attention: str | None, is_init_check: bool = False
    ) -> str:
        """Makes blockwise attention the default."""
        requested = requested_attention or BLOCKWISE
        return super().get_correct_attn_implementation(requested, is_init_check)  # type: ignore[misc]


class KEByT5ForConditionalGeneration(ByteModelMixin, T5ForConditionalGeneration):
    r"""`T5ForConditionalGeneration` with an untied `lm_head` where ByT5 and KEByT5 have one.

    The loss is the mean cross entropy over labels that are not -100, plus, where the config
    has `z_loss`, that coefficient times the mean of $\log^2 Z$ over the same labels, Z the
    partition function of one position. (The published code took a single Z over all logits of
    the batch, which makes the term depend on the batch size.)
    """

    def __init__(self, config: T5Config) -> None:
        config = copy.deepcopy(config)
        # T5Config ties whatever it is given, but the other flag remembers what it was given. If the
        # first is false, it was set later.
        tied = config.tie_word_embeddings and config.scale_decoder_outputs
        config.tie_word_embeddings = config.scale_decoder_outputs = tied
        # Not the parent's __init__, which would build stacks of Transformers.
        T5PreTrainedModel.__init__(self, config)
        self.model_dim = config.d_model
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = ByteStack(encoder_config(config))
        self.decoder = ByteStack(decoder_config(config))
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initializes as T5, but draws an untied `lm_head` so that first logits have unit scale.

        Transformers draws it with standard deviation 1, which starts training at a loss of
        d_model^0.5 instead of log V.
        """
        super()._init_weights(module)
        if isinstance(module, KEByT5ForConditionalGeneration) and hasattr(module, "lm_head"):
            std = self.config.initializer_factor * self.config.d_model**-0.5
            if not self.config.tie_word_embeddings:
                init.normal_(module.lm_head.weight, std=std)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        *,  # T5 has its decoder's mask here
        decoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Computes logits (B, T, V) and, given labels (B, T), the loss; else as in T5.

        The trainer gives `num_items_in_batch`, the labels counted in all parts of a batch whose
        gradients it accumulates, so that their losses add up to that of the whole.
        """
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self._shift_right(labels)
        if labels is not None and use_cache is None:
            use_cache = False  # there is nothing to generate, and without a cache it is faster
        output = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,  # `generate` takes what has a name here
            inputs_embeds=inputs_embeds,
            decoder_inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        if labels is None:
            return output
        z_loss = getattr(self.config, "z_loss", 0.0)
        loss = seq2seq_loss(output.logits, labels, z_loss, num_items_in_batch)
        return Seq2SeqLMOutput(loss=loss, **output)  # the loss has to be the first entry


def seq2seq_loss(
    logits: Tensor, labels: Tensor, z_loss: float = 0.0, count: Tensor | int | None = None
) -> Tensor:
    """Cross entropy plus z-loss in float32, both means over labels that are not -100.

    Args:
        logits: (B, T, V).
        labels: (B, T), contiguous or not.
        z_loss: Coefficient of the mean squared log partition function.
        count: Divisor of the sums, in place of the number of labels that count.
    """
    logits = logits.float().flatten(0, 1)
    labels = labels.to(logits.device).reshape(-1)
    counted = labels != IGNORED
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    if z_loss:
        loss = loss + z_loss * (logits.logsumexp(dim=-1).square() * counted).sum()
    return loss / (counted.sum() if count is None else count)


__all__ = ["KEByT5ForConditionalGeneration"]
