"""A widened model gives the same outputs."""

import pytest
import torch

import kebyt5
from kebyt5.bench.weights import gbst_config
from kebyt5.bench.widening import widened
from kebyt5.models.modeling_gbswt5 import GBSWT5ForConditionalGeneration


def test_a_widened_model_computes_the_same(tiny_model):
    small = tiny_model()
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            if "layer_norm" in name:
                parameter.normal_(mean=1.0, std=0.3)
    shape = {"d_model": 80, "d_ff": 100, "num_heads": 6, "num_layers": 3, "num_decoder_layers": 4}
    config = small.config.__class__(**(small.config.to_dict() | shape))
    large = GBSWT5ForConditionalGeneration(config).eval()
    large.load_state_dict(widened(small, config))
    ids = torch.randint(3, 259, (2, 61))
    with torch.no_grad():
        expected, found = (m(input_ids=ids, decoder_input_ids=ids[:, :30]).logits
                           for m in (small, large))  # fmt: skip
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    # What is added is not all zero: the products are those of a model of that shape.
    query = large.encoder.block[2].layer[0].SelfAttention.q.weight
    assert query.abs().min() > 0


def test_a_smaller_or_different_shape_is_refused(tiny_model):
    small = tiny_model()
    with pytest.raises(ValueError, match="its d_ff is 48, above 4"):
        widened(small, small.config.__class__(**(small.config.to_dict() | {"d_ff": 4})))
    with pytest.raises(ValueError, match="its d_kv is 8, not 64"):
        widened(small, gbst_config("tiny"))


def test_the_trained_model_fits_into_every_size():
    small = kebyt5.load("tiny").config
    for size in ("tiny", "small", "base", "large"):
        config = gbst_config(size)
        assert config.d_kv == small.d_kv
        assert config.blocks == small.blocks
        assert config.num_layers >= small.num_layers
        assert config.num_decoder_layers >= small.num_decoder_layers
