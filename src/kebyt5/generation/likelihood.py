"""How likely a model finds given texts as answers: for classification and reranking."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from rich.progress import track
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer


@torch.inference_mode()
def log_likelihoods(
    model: PreTrainedModel,
    inputs: Sequence[str],
    candidates: Sequence[Sequence[str]],
    batch_size: int = 32,
    progress: str = "",
) -> list[np.ndarray]:
    """The log probability of every candidate, end of sequence included, after its input.

    An input is encoded once, whatever the number of its candidates.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: The texts that the model reads.
        candidates: For each input the texts to judge.
        batch_size: Candidates that are decoded at a time, at least those of one input.
        progress: Title of a progress bar; none is shown where it is empty.

    Returns:
        Natural logarithms, for each input an array of shape (candidates,).

    Raises:
        ValueError: There are not as many lists of candidates as inputs.
    """
    if len(inputs) != len(candidates):
        raise ValueError(f"{len(inputs)} inputs, but candidates for {len(candidates)}")
    was_training = model.training
    model.eval()
    result = [np.zeros(len(texts)) for texts in candidates]
    batches = list(_batches(inputs, candidates, batch_size))
    for batch in track(batches, progress, disable=not progress, transient=True):
        targets = [text for i in batch for text in candidates[i]]
        owners = [row for row, i in enumerate(batch) for _ in candidates[i]]
        found = _score(model, [inputs[i] for i in batch], targets, owners)
        ends = np.cumsum([len(candidates[i]) for i in batch])[:-1]
        for i, part in zip(batch, np.split(found, ends), strict=True):
            result[i] = part
    model.train(was_training)
    return result


def _batches(
    inputs: Sequence[str], candidates: Sequence[Sequence[str]], batch_size: int
) -> Iterator[list[int]]:
    """Yields the indices of inputs of like length whose candidates fill a batch."""
    batch: list[int] = []
    size = 0
    for i in sorted(range(len(inputs)), key=lambda i: len(inputs[i]), reverse=True):
        if not candidates[i]:
            continue
        if batch and size + len(candidates[i]) > batch_size:
            yield batch
            batch, size = [], 0
        batch.append(i)
        size += len(candidates[i])
    if batch:
        yield batch


def _score(
    model: PreTrainedModel, inputs: Sequence[str], targets: Sequence[str], owners: Sequence[int]
) -> np.ndarray:
    """The log probability of every target after the input that `owners` names, (targets,)."""
    tokenizer = ByteTokenizer()
    encoded = tokenizer(list(inputs), padding=True, return_tensors="pt").to(model.device)
    labels = tokenizer(list(targets), padding=True, return_tensors="pt").to(model.device)
    rows = torch.tensor(owners, device=model.device)
    states = model.get_encoder()(**encoded).last_hidden_state
    logits = model(
        encoder_outputs=BaseModelOutput(states[rows]),
        attention_mask=encoded.attention_mask[rows],
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels.input_ids),
    ).logits.float()
    chosen = logits.log_softmax(dim=-1).gather(-1, labels.input_ids[:, :, None])[..., 0]
    return (chosen * labels.attention_mask).sum(dim=-1).cpu().numpy().astype(np.float64)


__all__ = ["log_likelihoods"]
