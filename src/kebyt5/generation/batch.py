"""Generating answers for many inputs at once."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from transformers import PreTrainedModel

from kebyt5.generation.constraints.constraint import EOS, Constraint
from kebyt5.generation.engine import Engine
from kebyt5.generation.request import GenerationOptions
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer


def generate_texts(
    model: PreTrainedModel,
    inputs: Sequence[str],
    max_new_bytes: Sequence[int],
    batch_size: int = 32,
    num_beams: int = 1,
    progress: str = "",
    constraint: Constraint | Sequence[Constraint | None] | None = None,
) -> list[str]:
    """Generates one text per input by greedy or beam search.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: The texts that the model reads.
        max_new_bytes: For each input, how many bytes the answer may have.
        batch_size: Inputs at a time.
        num_beams: 1 for greedy search, which the engine does; more for Transformers' beam search.
        progress: Title of a progress bar; none is shown where it is empty.
        constraint: What may be generated, for all inputs or for each; anything where it is None.

    Returns:
        The texts in the order of the inputs.
    """
    if constraint is None or isinstance(constraint, Constraint):
        constraint = [constraint] * len(inputs)
    was_training = model.training
    model.eval()
    if num_beams > 1:
        texts = _beam_search(
            model, inputs, max_new_bytes, batch_size, num_beams, progress, constraint
        )
    else:
        options = [
            GenerationOptions(max_new_bytes=limit, constraint=each)
            for limit, each in zip(max_new_bytes, constraint, strict=True)
        ]
        generated = Engine(model, batch_size).generate(inputs, options, progress)
        texts = [each.text for each in generated]
    model.train(was_training)
    return texts


@torch.inference_mode()
def _beam_search(
    model: PreTrainedModel,
    inputs: Sequence[str],
    max_new_bytes: Sequence[int],
    batch_size: int,
    num_beams: int,
    progress: str,
    constraints: Sequence[Constraint | None],
) -> list[str]:
    """Beam search by Transformers, in batches of inputs of like length."""
    tokenizer = ByteTokenizer()
    by_length = sorted(range(len(inputs)), key=lambda i: len(inputs[i]), reverse=True)
    batches = [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    texts = [""] * len(inputs)
    for batch in track(batches, progress, disable=not progress, transient=True):
        encoded = tokenizer([inputs[i] for i in batch], padding=True, return_tensors="pt")
        mine = [constraints[i] for i in batch]
        generated = model.generate(
            **encoded.to(model.device),
            # The end of sequence needs a place of its own.
            max_new_tokens=max(max_new_bytes[i] for i in batch) + 1,
            num_beams=num_beams,
            do_sample=False,
            prefix_allowed_tokens_fn=_allowed(mine, model) if any(mine) else None,
        )
        for i, ids in zip(batch, generated.cpu(), strict=True):
            # The start of the decoder and the end of sequence come on top.
            texts[i] = tokenizer.decode(ids[: max_new_bytes[i] + 2], skip_special_tokens=True)
    return texts


def _allowed(
    constraints: Sequence[Constraint | None], model: PreTrainedModel
) -> Callable[[int, Tensor], list[int]]:
    """The automata in the form in which Transformers asks for them: by all ids so far."""
    pad_id = model.generation_config.pad_token_id or 0
    every_id = list(range(model.config.vocab_size))

    def allowed(example: int, ids: Tensor) -> list[int]:
        constraint = constraints[example]
        if constraint is None:
            return every_id
        state = constraint.start()
        for byte_id in ids[1:].tolist():  # the first one starts the decoder
            if byte_id in (EOS, pad_id):
                return [pad_id]
            state = constraint.advance(state, byte_id)
        return np.flatnonzero(constraint.allowed(state)).tolist() or [pad_id]

    return allowed


__all__ = ["generate_texts"]
