"""Generates texts for many inputs at once."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kebyt5.generation.constraints.constraint import Constraint, ConstraintError
from kebyt5.generation.encoding import batches_by_length
from kebyt5.generation.engine import Engine
from kebyt5.generation.request import (
    GenerationOptions,
    GenerationStatistics,
    TextStream,
    shared_tokenizer,
)
from kebyt5.models.mode import evaluating
from kebyt5.models.tokenization_kebyt5 import EOS
from kebyt5.progress import track


class GeneratedTexts(NamedTuple):
    """Texts in the order of their inputs.

    Attributes:
        texts: The texts.
        cut: For each text whether it ended at its limit of bytes.
        statistics: How each text was generated; None after beam search.
    """

    texts: list[str]
    cut: list[bool]
    statistics: list[GenerationStatistics] | None


def generate_texts(
    model: PreTrainedModel,
    inputs: Sequence[str],
    max_new_bytes: Sequence[int],
    batch_size: int = 32,
    num_beams: int = 1,
    progress: str = "",
    constraint: Constraint | Sequence[Constraint | None] | None = None,
) -> GeneratedTexts:
    """Generates one text per input by greedy or beam search.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: The texts that the model reads.
        max_new_bytes: Maximum number of bytes of each answer.
        batch_size: Inputs processed at a time.
        num_beams: 1 for greedy search by the engine; more for beam search by Transformers.
        progress: Title of a progress bar; none is shown where it is empty.
        constraint: What may be generated, for all inputs or for each; None for anything.

    Returns:
        The texts in the order of the inputs, and how they were generated.

    Raises:
        ValueError: `num_beams` is less than 1, `inputs` is a single text, or there is not one
            limit, of at least one byte, for each input.
        GenerationError: Some texts failed in greedy search, for example because a constraint left
            nothing to generate; it holds the others.
        ConstraintError: A constraint left nothing to generate in beam search.
    """
    if num_beams < 1:
        raise ValueError(f"num_beams is {num_beams}; it has to be at least 1")
    if isinstance(inputs, str):
        raise ValueError("inputs is one text; give a list of texts")
    if len(max_new_bytes) != len(inputs):
        raise ValueError(f"{len(inputs)} inputs, but {len(max_new_bytes)} limits of bytes")
    if min(max_new_bytes, default=1) < 1:
        raise ValueError(f"max_new_bytes is {min(max_new_bytes)}; it has to be at least 1")
    if constraint is None or isinstance(constraint, Constraint):
        constraint = [constraint] * len(inputs)
    if num_beams > 1:
        with evaluating(model):
            found = _beam_search(
                model, inputs, max_new_bytes, batch_size, num_beams, progress, constraint
            )
        return GeneratedTexts([text for text, _ in found], [cut for _, cut in found], None)
    options = [
        GenerationOptions(max_new_bytes=limit, constraint=each)
        for limit, each in zip(max_new_bytes, constraint, strict=True)
    ]
    with evaluating(model):
        generated = Engine(model, batch_size).generate(inputs, options, progress)
    return GeneratedTexts(
        [each.text for each in generated],
        [each.finish == "length" for each in generated],
        [each.statistics for each in generated],
    )


@torch.inference_mode()
def _beam_search(
    model: PreTrainedModel,
    inputs: Sequence[str],
    max_new_bytes: Sequence[int],
    batch_size: int,
    num_beams: int,
    progress: str,
    constraints: Sequence[Constraint | None],
) -> list[tuple[str, bool]]:
    """Runs beam search by Transformers, in batches of inputs of similar length."""
    batches = batches_by_length([len(text) for text in inputs], batch_size)
    texts = [("", False)] * len(inputs)
    pad_id = model.generation_config.pad_token_id or 0
    for batch in track(batches, progress):
        encoded = shared_tokenizer()([inputs[i] for i in batch], padding=True, return_tensors="pt")
        mine, limits = [constraints[i] for i in batch], [max_new_bytes[i] for i in batch]
        generated = model.generate(
            **encoded.to(model.device),
            # One more for the end of sequence.
            max_new_tokens=max(limits) + 1,
            num_beams=num_beams,
            do_sample=False,
            prefix_allowed_tokens_fn=_allowed(mine, limits, model, num_beams, pad_id),
        )
        for i, ids in zip(batch, generated[:, 1:].tolist(), strict=True):  # after the start id
            if constraints[i] is not None and pad_id in _until_end(ids):
                raise ConstraintError("the constraint leaves nothing to generate here")
            texts[i] = _text_within(ids, max_new_bytes[i])
    return texts


def _until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS)] if EOS in ids else ids


def _text_within(ids: list[int], max_new_bytes: int) -> tuple[str, bool]:
    """Decodes ids up to their end of sequence, dropping a character cut in half by the limit.

    Returns:
        The text, and whether it ended at the limit.
    """
    size = len(_until_end(ids))
    cut = size >= max_new_bytes
    stream = TextStream()
    stream.feed(ids[: min(size, max_new_bytes)])
    stream.close(cut)
    return stream.text, cut


def _allowed(
    constraints: Sequence[Constraint | None],
    limits: Sequence[int],
    model: PreTrainedModel,
    num_beams: int,
    pad_id: int,
) -> Callable[[int, Tensor], list[int]]:
    """Constraints and limits as Transformers' `prefix_allowed_tokens_fn`.

    Each text ends at its own limit, so that its neighbours in the batch do not matter.
    """
    every_id = list(range(model.config.vocab_size))

    # Each prefix extends one whose state was computed a byte earlier.
    @lru_cache(maxsize=4 * num_beams * len(constraints))
    def state_of(example: int, path: tuple[int, ...]) -> Any:
        """The state after `path`; None after the end of sequence and in filler beams."""
        constraint = constraints[example]
        assert constraint is not None
        if not path:
            return constraint.start()
        before, byte_id = state_of(example, path[:-1]), path[-1]
        if before is None or byte_id == EOS or not constraint.allowed(before)[byte_id]:
            return None
        return constraint.advance(before, byte_id)

    def allowed(example: int, ids: Tensor) -> list[int]:
        constraint = constraints[example]
        if len(ids) > limits[example]:
            return [EOS]
        if constraint is None:
            return every_id
        state = state_of(example, tuple(ids[1:].tolist()))  # the first one starts the decoder
        if state is None:
            return [pad_id]
        return np.flatnonzero(constraint.allowed(state)).tolist() or [pad_id]

    return allowed


__all__ = ["GeneratedTexts", "generate_texts"]
