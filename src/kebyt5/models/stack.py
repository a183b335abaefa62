"""A T5 stack that computes what `T5Stack` does, without padding and with less memory traffic.

Transformers builds the modules inside it; then their classes are replaced. Nothing else about them
changes: parameters, their names and what wraps them (LoRA, hooks, gradient checkpointing) stay as
they are in Transformers.
"""

import copy
from typing import Any

from torch import Tensor, nn
from transformers import T5Config
from transformers.models.t5 import modeling_t5
from transformers.models.t5.modeling_t5 import (
    T5Attention,
    T5DenseGatedActDense,
    T5LayerNorm,
    T5Stack,
)

from .attention import BLOCKWISE, ByteAttention, Pairs, Segments
from .dropout import Dropout
from .encoder_block import T5Block
from .fast_path import fast_path, is_traced
from .feed_forward import GatedFeedForward
from .hooks import are_watched
from .int8 import Int8Linear, replace_linears
from .linear import Linear
from .norm import RMSNorm

CACHES = ("cache", "past_key_values")
"""Names of the key-value cache in Transformers: since 5.24, and before."""


def cache_of(output: Any) -> dict[str, Any]:
    """The keys and values in a model's output, as an argument of its next call."""
    return next(({name: output[name]} for name in CACHES if output.get(name) is not None), {})


def encoder_config(config: T5Config) -> T5Config:
    """Returns the configuration of a model's encoder."""
    config = copy.deepcopy(config)
    config.is_decoder = config.use_cache = False
    return config


def decoder_config(config: T5Config) -> T5Config:
    """Returns the configuration of a model's decoder, which may have fewer layers."""
    config = copy.deepcopy(config)
    config.is_decoder = True
    config.num_layers = config.num_decoder_layers
    return config


class Packing:
    """Packs the rows of (B, L, D) that count into (1, N, D), concatenated, and unpacks them.

    Args:
        states: (B, L, D).
        mask: (B, L), true where a row counts, without holes and with padding on the right only;
            all rows count if it is None.
    """

    def __init__(self, states: Tensor, mask: Tensor | None) -> None:
        self.shape = states.shape[:2]
        batch, length = self.shape
        self.lengths = (length,) * batch
        self.rows = None
        if mask is not None:
            mask = mask != 0  # Transformers accepts masks of any numeric type
            self.lengths = tuple(mask.sum(dim=1).tolist())
            if min(self.lengths, default=length) < length:
                self.rows = mask.flatten().nonzero()[:, 0].to(states.device)

    def pack(self, states: Tensor) -> Tensor:
        """Maps (B, L, D) to (1, N, D)."""
        flat = states.flatten(0, 1)
        return (flat if self.rows is None else flat.index_select(0, self.rows))[None]

    def unpack(self, states: Tensor) -> Tensor:
        """Maps (1, N, D) to (B, L, D), zero where no row counts."""
        flat = states[0]
        if self.rows is not None:
            flat = flat.new_zeros(self.shape.numel(), flat.shape[1]).index_copy(0, self.rows, flat)
        return flat.view(*self.shape, -1)


class T5InitializationMixin:
    """Mixin that has Transformers draw new weights by T5's rules."""

    @classmethod
    def is_custom_code(cls) -> bool:
        """Declares the class to be code of Transformers.

        In custom classes, Transformers 5.23 takes modules without parameters of their own, such as
        an attention, for initialized, which leaves all matrices with standard deviation 1.
        """
        return False


class ByteStack(T5InitializationMixin, T5Stack):
    """`T5Stack`, encoder or decoder, that skips padding where it can."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        for module in self.modules():
            module.__class__ = FAST.get(type(module), type(module))
        if getattr(config, "int8", False):
            replace_linears(self, Int8Linear.like)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Computes what `T5Stack` does; rows that `attention_mask` excludes become zero."""
        inputs = input_ids if input_ids is not None else inputs_embeds
        if not (
            self._can_pack(use_cache, kwargs)
            and inputs is not None
            and (input_ids is None or inputs_embeds is None)
            and _is_right_padded(attention_mask, inputs)
            and _is_right_padded(encoder_attention_mask, encoder_hidden_states)
        ):
            return super().forward(
                input_ids=input_ids,
                attention_mask=attention_mask,
                encoder_hidden_states=encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                inputs_embeds=inputs_embeds,
                use_cache=use_cache,
                **kwargs,
            )
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        own = Packing(inputs_embeds, attention_mask)
        segments = Segments(Pairs(own.lengths, own.lengths))
        if encoder_hidden_states is not None:
            encoder = Packing(encoder_hidden_states, encoder_attention_mask)
            encoder_hidden_states = encoder.pack(encoder_hidden_states)
            segments = Segments(segments.own, Pairs(own.lengths, encoder.lengths))
        return_dict = kwargs.pop("return_dict", None)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        output = super().forward(
            inputs_embeds=own.pack(inputs_embeds),
            encoder_hidden_states=encoder_hidden_states,
            use_cache=False,
            segments=segments,
            return_dict=True,
            **kwargs,
        )
        output.last_hidden_state = own.unpack(output.last_hidden_state)
        if output.get("hidden_states"):
            output.hidden_states = tuple(
                None if states is None else own.unpack(states) for states in output.hidden_states
            )
        return output if return_dict else output.to_tuple()

    def _can_pack(self, use_cache: bool | None, options: Any) -> bool:
        if use_cache is None:
            use_cache = self.config.use_cache
        attentions = options.get("output_attentions") or self.config.output_attentions
        return (
            fast_path.packed
            and self.config._attn_implementation == BLOCKWISE
            and all(options.get(name) is None for name in CACHES)
            and not (use_cache and self.is_decoder)
            and not attentions
            and not is_traced()
            and not are_watched(self.block)
        )


def _is_right_padded(mask: Tensor | None, states: Tensor | None) -> bool:
    """Whether a mask (B, L) excludes only rows at the end, and never all of an example."""
    if mask is None:
        return True
    if mask.dim() != 2 or states is None or mask.shape != states.shape[:2]:
        return False
    counts = mask != 0
    return bool((counts[:, :1].all() & (counts[:, :-1] >= counts[:, 1:]).all()).item())


FAST: dict[type[nn.Module], type[nn.Module]] = {
    T5Attention: ByteAttention,
    modeling_t5.T5Block: T5Block,
    T5LayerNorm: RMSNorm,
    T5DenseGatedActDense: GatedFeedForward,
    nn.Dropout: Dropout,
    nn.Linear: Linear,
}
"""Replacements for the modules of Transformers; none has state of its own."""
