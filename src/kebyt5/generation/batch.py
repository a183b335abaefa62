"""Generating answers for many inputs, in batches of like length."""

from collections.abc import Callable, Sequence

import torch
from rich.progress import track
from torch import Tensor
from transformers import PreTrainedModel

from kebyt5.generation.labels import LabelTrie
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer


@torch.inference_mode()
def generate_texts(
    model: PreTrainedModel,
    inputs: Sequence[str],
    max_new_bytes: Sequence[int],
    batch_size: int = 32,
    num_beams: int = 1,
    progress: str = "",
    labels: LabelTrie | None = None,
) -> list[str]:
    """Generates one text per input by greedy or beam search.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: The texts that the model reads.
        max_new_bytes: For each input, how many bytes the answer may have.
        batch_size: Inputs per batch; inputs of similar length share one.
        num_beams: 1 for greedy search.
        progress: Title of a progress bar; none is shown where it is empty.
        labels: The only texts that may be generated; any may where it is None.

    Returns:
        The texts in the order of the inputs.
    """
    tokenizer = ByteTokenizer()
    was_training = model.training
    model.eval()
    by_length = sorted(range(len(inputs)), key=lambda i: len(inputs[i]), reverse=True)
    batches = [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    texts = [""] * len(inputs)
    for batch in track(batches, progress, disable=not progress, transient=True):
        encoded = tokenizer([inputs[i] for i in batch], padding=True, return_tensors="pt")
        generated = model.generate(
            **encoded.to(model.device),
            # The end of sequence needs a place of its own.
            max_new_tokens=max(max_new_bytes[i] for i in batch) + 1,
            num_beams=num_beams,
            do_sample=False,
            prefix_allowed_tokens_fn=_allowed(labels, model) if labels else None,
        )
        for i, ids in zip(batch, generated.cpu(), strict=True):
            # The start of the decoder and the end of sequence come on top.
            texts[i] = tokenizer.decode(ids[: max_new_bytes[i] + 2], skip_special_tokens=True)
    model.train(was_training)
    return texts


def _allowed(labels: LabelTrie, model: PreTrainedModel) -> Callable[[int, Tensor], list[int]]:
    """The automaton in the form in which Transformers asks for it: by all ids so far."""
    pad_id = model.generation_config.pad_token_id or 0

    def allowed(_: int, ids: Tensor) -> list[int]:
        state = labels.START
        for byte_id in ids[1:].tolist():  # the first one starts the decoder
            if byte_id == pad_id:
                break
            state = labels.advance(state, byte_id)
        return labels.allowed(state) or [pad_id]

    return allowed


__all__ = ["generate_texts"]
