"""Logits of plain generation: one input alone, its output byte by byte.

Sums in another order round differently, so the logits of passes that several bytes and requests
share agree with those of `model.generate` to about six digits. Where two ids are closer than that,
only the passes of `model.generate` itself tell which one it takes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.models.stack import cache_of


def plain_logits(
    model: PreTrainedModel, input_ids: np.ndarray, output_ids: Iterable[int]
) -> Iterator[np.ndarray]:
    """Yields the logits (V,) in float32 after each id of an output, as `model.generate` has them.

    Each takes a pass of the decoder over one id. Ids are consumed one at a time, so `output_ids`
    may iterate over a list that still grows.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model.
        input_ids: Ids that the encoder reads, (n,).
        output_ids: Ids that the decoder reads, beginning with the start id.
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
        cache = cache_of(passed)
        if not cache:
            raise ValueError("the model returns no cache, without which a pass forgets the others")
        yield passed.logits[0, -1].float().cpu().numpy()
