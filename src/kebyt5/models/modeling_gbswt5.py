"""GBST-KEByT5: a T5 whose encoder reads bytes through GBST.

Blocks, caches, attention kernels and generation are those of Transformers; this module adds only
what GBST changes. The encoder has fewer positions than the input has bytes, so its output carries
a mask of its own, which cross-attention uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import T5EncoderModel, T5Model, T5PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_gbswt5 import GBSWT5Config
from .gbst import GBST, PositionalConvolution
from .modeling_kebyt5 import ByteModelMixin, KEByT5ForConditionalGeneration
from .stack import ByteStack, decoder_config, encoder_config


@dataclass
class GBSWT5EncoderOutput(BaseModelOutput):
    """Output of the encoder: states (B, n, D) and their `attention_mask` (B, n)."""

    attention_mask: Tensor | None = None


class GBSWT5PreTrainedModel(ByteModelMixin, T5PreTrainedModel):
    """Configuration and initialization common to all GBST models."""

    config_class = GBSWT5Config
    config: GBSWT5Config

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initializes T5's modules as T5 does, and GBST so that it passes on all it reads.

        The convolution starts random, so that a pooled block still reflects the order of its
        bytes; the projection starts near the identity, and all blocks score nearly the same.
        """
        super()._init_weights(module)
        factor, d_model = self.config.initializer_factor, self.config.d_model
        if isinstance(module, PositionalConvolution):
            kernel_size = module.convol.kernel_size[0]
            init.normal_(module.convol.weight, std=factor * kernel_size**-0.5)
            noise = 0.02 * factor * d_model**-0.5 * torch.randn(d_model, d_model)
            init.copy_(module.proj.weight, (torch.eye(d_model) + noise)[:, :, None])
            init.zeros_(module.convol.bias)
            init.zeros_(module.proj.bias)
        elif isinstance(module, GBST):
            init.normal_(module.scoring.weight, std=0.02 * factor * d_model**-0.5)
            init.zeros_(module.scoring.bias)


class GBSWT5Stack(GBSWT5PreTrainedModel, ByteStack):
    """The encoder: GBST, then T5 blocks on its output."""

    def __init__(self, config: GBSWT5Config) -> None:
        config.check_blocks()
        super().__init__(config)
        self.embed_tokens = GBST(
            config.vocab_size,
            config.d_model,
            config.blocks,
            config.downsample_factor,
            config.score_consensus_attn,
            config.gbst_batchnorm,
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The byte embedding in front of GBST."""
        return self.embed_tokens.embeds

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the byte embedding in front of GBST."""
        self.embed_tokens.embeds = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> GBSWT5EncoderOutput:
        """Encodes bytes (B, L) to states (B, n, D), n = ceil(L / downsample_factor).

        Args:
            input_ids: (B, L) byte ids.
            attention_mask: (B, L), non-zero for bytes that count. Left padding and holes are
                closed up: states are those of the sequence without them.
            inputs_embeds: (B, L, D) embeddings in front of GBST, in place of `input_ids`.
            **kwargs: As in `T5Stack`.
        """
        subwords, mask = self.embed_tokens(input_ids, attention_mask, inputs_embeds)
        output = super().forward(
            inputs_embeds=subwords, attention_mask=mask, return_dict=True, **kwargs
        )
        return GBSWT5EncoderOutput(
            last_hidden_state=output.last_hidden_state,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
            attention_mask=mask,
        )


class GBSWT5EncoderDecoder(GBSWT5PreTrainedModel):
    """Base of the models with a decoder; decoding is left to the T5 class that they extend."""

    _keys_to_ignore_on_save: ClassVar[list[str]] = [
        "encoder.embed_tokens.embeds.weight",
        "decoder.embed_tokens.weight",
    ]

    _tied_weights_keys: ClassVar[dict[str, str] | None] = {
        "encoder.embed_tokens.embeds.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
        "lm_head.weight": "shared.weight",
    }
    encoder: GBSWT5Stack

    def __init__(self, config: GBSWT5Config) -> None:
        # An override of `from_pretrained` may have changed one of them.
        config.scale_decoder_outputs = config.tie_word_embeddings
        # Not the T5 parent's __init__, which would build a second encoder.
        T5PreTrainedModel.__init__(self, config)
        self.model_dim = config.d_model
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = GBSWT5Stack(encoder_config(config))
        self.decoder = ByteStack(decoder_config(config))

    def _encode(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        encoder_outputs: Any,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        """Runs the encoder unless its outputs are given; returns arguments of the T5 parent."""
        if isinstance(encoder_outputs, tuple | list):
            encoder_outputs = _with_mask(encoder_outputs)
        if encoder_outputs is None:
            captured = {k: v for k, v in options.items() if k.startswith("output_")}
            encoder_outputs = self.encoder(
                input_ids, attention_mask, inputs_embeds, return_dict=True, **captured
            )
        mask = self._encoder_mask(encoder_outputs, attention_mask)
        return {"encoder_outputs": encoder_outputs, "attention_mask": mask}

    def _encoder_mask(self, encoder_outputs: Any, attention_mask: Tensor | None) -> Tensor | None:
        """The mask (B, n) of the encoder states: the one they carry, else the pooled byte mask."""
        mask = getattr(encoder_outputs, "attention_mask", None)
        if mask is None and attention_mask is not None:
            mask = self.encoder.embed_tokens.downsample_mask(attention_mask)
            if mask.shape[1] != encoder_outputs[0].shape[1]:
                raise ValueError(
                    f"attention_mask has {attention_mask.shape[1]} bytes, for which encoder_outputs"
                    f" would have {mask.shape[1]} positions, not {encoder_outputs[0].shape[1]}"
                )
        return mask


def _with_mask(encoder_outputs: Sequence[Any]) -> Any:
    """Restores the output of an encoder that returned a tuple: states first, the mask last."""
    states, *captured = encoder_outputs
    if not captured or not isinstance(captured[-1], Tensor) or captured[-1].dim() != 2:
        return encoder_outputs
    mask = captured.pop()
    hidden_states, attentions, *_ = (*captured, None, None)
    return GBSWT5EncoderOutput(states, hidden_states, attentions, attention_mask=mask)


class GBSWT5Model(GBSWT5EncoderDecoder, T5Model):
    """GBST-KEByT5 without `lm_head`: returns decoder states."""

    _tied_weights_keys: ClassVar[dict[str, str] | None] = {
        "encoder.embed_tokens.embeds.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [
        r"lm_head",
        *T5Model._keys_to_ignore_on_load_unexpected,
    ]

    def __init__(self, config: GBSWT5Config) -> None:
        super().__init__(config)
        self.post_init()

    def forward(  # explicit arguments: Transformers reads the signature
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        *,  # T5 has its decoder's mask here
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Runs encoder and decoder, as `T5Model`.

        Args:
            input_ids: (B, L) byte ids.
            attention_mask: (B, L) over *bytes*, also where `encoder_outputs` are given.
            decoder_input_ids: (B, T).
            decoder_attention_mask: (B, T).
            encoder_outputs: What the encoder returned; it carries its own mask.
            inputs_embeds: (B, L, D) embeddings in front of GBST, in place of `input_ids`.
            **kwargs: As in T5.
        """
        encoded = self._encode(input_ids, attention_mask, inputs_embeds, encoder_outputs, kwargs)
        return super().forward(
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            **encoded,
            **kwargs,
        )


class GBSWT5ForConditionalGeneration(GBSWT5EncoderDecoder, KEByT5ForConditionalGeneration):
    """GBST-KEByT5 with `lm_head`: returns logits and, given labels, the loss."""

    def __init__(self, config: GBSWT5Config) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def forward(  # explicit arguments: Transformers reads the signature
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        *,  # T5 has its decoder's mask here
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Runs encoder and decoder, as `KEByT5ForConditionalGeneration`.

        Args:
            input_ids: (B, L) byte ids.
            attention_mask: (B, L) over *bytes*, also where `encoder_outputs` are given.
            decoder_input_ids: (B, T); the labels shifted right where not given.
            decoder_attention_mask: (B, T).
            encoder_outputs: What the encoder returned; it carries its own mask.
            inputs_embeds: (B, L, D) embeddings in front of GBST, in place of `input_ids`.
            labels: (B, T), -100 where no loss is taken.
            **kwargs: As in T5.
        """
        encoded = self._encode(input_ids, attention_mask, inputs_embeds, encoder_outputs, kwargs)
        return super().forward(
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            labels=labels,
            **encoded,
            **kwargs,
        )


class GBSWT5EncoderModel(GBSWT5PreTrainedModel, T5EncoderModel):
    """The encoder alone, for sentence embeddings and classifiers."""

    _tied_weights_keys: ClassVar[dict[str, str] | None] = {
        "encoder.embed_tokens.embeds.weight": "shared.weight"
    }
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"decoder", r"lm_head"]

    def __init__(self, config: GBSWT5Config) -> None:
        T5PreTrainedModel.__init__(self, config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        alone = encoder_config(config)
        alone.is_encoder_decoder = False
        self.encoder = GBSWT5Stack(alone)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        return_resized_attention_mask: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Encodes bytes (B, L) to `last_hidden_state` (B, n, D) and `attention_mask` (B, n).

        Args:
            input_ids: (B, L) byte ids.
            attention_mask: (B, L), non-zero for bytes that count.
            inputs_embeds: (B, L, D) embeddings in front of GBST, in place of `input_ids`.
            return_resized_attention_mask: Returns the pair of output and mask, as the
                published module did.
            **kwargs: As in `T5EncoderModel`.
        """
        return_dict = kwargs.pop("return_dict", None)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        encoded = self.encoder(input_ids, attention_mask, inputs_embeds, return_dict=True, **kwargs)
        output = encoded if return_dict else encoded.to_tuple()
        return (output, encoded.attention_mask) if return_resized_attention_mask else output


__all__ = [
    "GBSWT5EncoderModel",
    "GBSWT5ForConditionalGeneration",
    "GBSWT5Model",
]
