"""Operations of a step."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config

from kebyt5.models.fused import fast_path
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.pretraining.flops import training_flops


@pytest.mark.parametrize("gbst", [False, True])
def test_flops_are_those_of_the_products_that_run(tiny_model, gbst, monkeypatch):
    monkeypatch.setattr(fast_path, "onednn", False)  # whose products the counter does not know
    if gbst:
        model = tiny_model(d_model=128, d_kv=32, d_ff=256, attn_implementation="eager")
    else:
        config = T5Config(
            vocab_size=384, d_model=128, d_kv=32, d_ff=256, num_heads=4, num_layers=2,
            num_decoder_layers=2, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
            attn_implementation="eager", decoder_start_token_id=0,
        )  # fmt: skip
        model = KEByT5ForConditionalGeneration(config)
    inputs, labels = torch.full((1, 240), 5), torch.full((1, 60), 5)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=inputs, labels=labels).loss.backward()
    counted = counter.get_total_flops() / training_flops(model, 240, 60)
    # How GBST mixes and pools is its own affair; in a model as small as this it shows.
    assert counted == pytest.approx(1.2 if gbst else 1, abs=0.2 if gbst else 0.02)
