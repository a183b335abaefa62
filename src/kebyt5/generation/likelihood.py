"""How likely a model finds given texts as answers: for classification and reranking."""

from collections.abc import Sequence

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
    targets: Sequence[str],
    batch_size: int = 32,
    progress: str = "",
) -> np.ndarray:
    """The log probability of every target, end of sequence included, after every input.

    An input is encoded once, whatever the number of targets.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        inputs: The texts that the model reads.
        targets: The texts to judge, the same for all inputs.
        batch_size: Pairs of input and target that are decoded at a time, at least.
        progress: Title of a progress bar; none is shown where it is empty.

    Returns:
        Natural logarithms, shape (inputs, targets).
    """
    tokenizer = ByteTokenizer()
    was_training = model.training
    model.eval()
    labels = tokenizer(list(targets), padding=True, return_tensors="pt").to(model.device)
    counted = labels.attention_mask.bool()  # (targets, bytes)
    result = np.zeros((len(inputs), len(targets)))
    by_length = sorted(range(len(inputs)), key=lambda i: len(inputs[i]), reverse=True)
    size = max(1, batch_size // len(targets))
    batches = [by_length[i : i + size] for i in range(0, len(by_length), size)]
    for batch in track(batches, progress, disable=not progress, transient=True):
        encoded = tokenizer([inputs[i] for i in batch], padding=True, return_tensors="pt")
        encoded = encoded.to(model.device)
        states = model.get_encoder()(**encoded).last_hidden_state
        logits = model(
            encoder_outputs=BaseModelOutput(states.repeat_interleave(len(targets), dim=0)),
            attention_mask=encoded.attention_mask.repeat_interleave(len(targets), dim=0),
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(
                labels.input_ids.repeat(len(batch), 1)
            ),
        ).logits.float()
        chosen = logits.log_softmax(dim=-1).unflatten(0, (len(batch), len(targets)))
        index = labels.input_ids[None, :, :, None].expand(len(batch), -1, -1, 1)
        chosen = chosen.gather(-1, index)[..., 0] * counted
        result[batch] = chosen.sum(dim=-1).cpu().numpy()
    model.train(was_training)
    return result


__all__ = ["log_likelihoods"]
