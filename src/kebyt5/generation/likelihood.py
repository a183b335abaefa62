"""Log likelihoods of given answers, for classification and reranking."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from kebyt5.generation.constraints.constraint import byte_ids
from kebyt5.generation.encoding import batches_by_length
from kebyt5.generation.request import shared_tokenizer
from kebyt5.models.mode import evaluating
from kebyt5.models.tokenization_kebyt5 import EOS
from kebyt5.progress import track

MAX_PASS = 8192
"""Most positions in a decoder pass, of candidates and their encoder states together; memory beyond
the weights is proportional to them."""


@torch.inference_mode()
def log_likelihoods(
    model: PreTrainedModel,
    inputs: Sequence[str],
    candidates: Sequence[Sequence[str]],
    batch_size: int = 32,
    progress: str = "",
) -> list[np.ndarray]:
    """Computes the log probability of every candidate given its input, end of sequence included.

    Each input is encoded once, whatever the number of its candidates.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: The texts that the model reads.
        candidates: For each input the texts to score, byte for byte.
        batch_size: Inputs encoded at a time, and candidates decoded at a time; fewer candidates
            if they or the inputs are long.
        progress: Title of a progress bar; none is shown if it is empty.

    Returns:
        Natural logarithms: for each input an array of shape (candidates,).

    Raises:
        ValueError: `inputs` or one of the candidates' lists is a text, or there are not as many
            lists as inputs.
    """
    if isinstance(inputs, str):
        raise ValueError("inputs is one text; give a list of texts")
    if any(isinstance(texts, str) for texts in candidates):
        raise ValueError("give a list of candidates for each input, not a text")
    if len(inputs) != len(candidates):
        raise ValueError(f"{len(inputs)} inputs, but candidates for {len(candidates)}")
    result = [np.zeros(len(texts)) for texts in candidates]
    asked = [i for i, texts in enumerate(candidates) if texts]
    batches = batches_by_length([len(inputs[i]) for i in asked], batch_size)
    with evaluating(model):
        for batch in track([[asked[j] for j in batch] for batch in batches], progress):
            scores = _score_batch(
                model, [inputs[i] for i in batch], [candidates[i] for i in batch], batch_size
            )
            for i, row in zip(batch, scores, strict=True):
                result[i] = row
    return result


def _score_batch(
    model: PreTrainedModel, inputs: list[str], candidates: list[Sequence[str]], most: int
) -> list[np.ndarray]:
    """The log probabilities of the candidates of inputs that are encoded together."""
    encoded = shared_tokenizer()(inputs, padding=True, return_tensors="pt").to(model.device)
    states = model.get_encoder()(**encoded).last_hidden_state
    counts = [len(texts) for texts in candidates]
    # Bytes even where a text looks like a special token, as everywhere in generation.
    targets = [[*byte_ids(text), EOS] for text in chain.from_iterable(candidates)]
    rows = torch.arange(len(inputs), device=model.device).repeat_interleave(
        torch.tensor(counts, device=model.device)
    )
    found = [
        _score(model, states[rows[part]], encoded.attention_mask[rows[part]], targets[part])
        for part in _passes([len(ids) for ids in targets], states.shape[1], most)
    ]
    values = torch.cat(found).double().cpu().numpy()
    return np.split(values, np.cumsum(counts)[:-1])


def _passes(sizes: Sequence[int], states: int, most: int) -> Iterator[slice]:
    """Yields the slices of candidates to decode together, each with at least one.

    Args:
        sizes: Ids of each candidate; all in a pass are padded to the longest.
        states: Encoder states of each candidate.
        most: Most candidates in a pass.
    """
    start = longest = 0
    for i, size in enumerate(sizes):
        longest = max(longest, size)
        together = i + 1 - start
        if together > 1 and (together > most or together * (longest + states) > MAX_PASS):
            yield slice(start, i)
            start, longest = i, size
    if sizes:
        yield slice(start, len(sizes))


def _score(
    model: PreTrainedModel, states: Tensor, mask: Tensor, targets: list[list[int]]
) -> Tensor:
    """The log probability (targets,) of each target given its encoder states (targets, n, D)."""
    labels = shared_tokenizer().pad({"input_ids": targets}, return_tensors="pt").to(model.device)
    logits = model(
        encoder_outputs=BaseModelOutput(states),
        attention_mask=mask,
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels.input_ids),
        decoder_attention_mask=labels.attention_mask,
        use_cache=False,  # so that attention takes linear memory
    ).logits.float()
    chosen = logits.log_softmax(dim=-1).gather(-1, labels.input_ids[:, :, None])[..., 0]
    return (chosen * labels.attention_mask).sum(dim=-1)


__all__ = ["log_likelihoods"]
