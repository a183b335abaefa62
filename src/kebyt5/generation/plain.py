"""What plain generation sees: one input alone, its output byte by byte.

Sums in another order round differently, so logits of passes that many bytes and many requests share
are those of `model.generate` up to the sixth digit or so. Where less than that lies between two
ids, only the passes that `model.generate` itself makes tell which of them it takes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.models.stack import CACHES


def plain_logits(
    model: PreTrainedModel, input_ids: np.ndarray, output_ids: Iterable[int]
) -> Iterator[np.ndarray]:
    """Yields the logits (V,) in float32 behind each id of an output, as `model.generate` has them.

    Every one is a pass of the decoder over one id. The ids are asked for one at a time, so they may
    be a list that still grows.

    Args:
        model: KEByT5, GBST-KEByT5 or ByT5.
        input_ids: What the encoder reads, (n,).
        output_ids: What the decoder reads, the start of the output first.
    """
    ids = torch.from_numpy(input_ids)[None].to(model.device)
    mask = torch.ones_like(ids)
    encoded = model.get_encoder()(ids, attention_mask=mask)
    cache: dict[str, Any] = {}
    for byte_id in output_ids:
        passed = model(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=torch.tensor([[byte_id]], device=model.device),
            use_cache=True,
            **cache,
        )
        name = next(name for name in CACHES if name in passed)  # the old one is still understood
        cache = {name: passed[name]}
        yield passed.logits[0, -1].float().cpu().numpy()


__all__ = ["plain_logits"]
