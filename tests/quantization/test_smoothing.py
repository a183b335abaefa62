"""Channels are evened out without a change to what a model says."""

import pytest
import torch

import kebyt5
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.quantization.quantize import quantize
from kebyt5.quantization.smoothing import channels_of, smooth


@pytest.fixture
def batch():
    ids = torch.arange(3, 99)[None]
    return {"input_ids": ids, "labels": ids[:, :40]}


@pytest.fixture
def uneven(tiny_model):
    """A model some of whose channels are far larger than the rest, and read accordingly."""
    torch.manual_seed(0)
    model = tiny_model().eval()
    with torch.no_grad():
        for writer, readers in channels_of(model):
            writer[::7] *= 300
            for reader in readers:
                reader.weight[:, ::7] /= 300
    return model


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def test_a_model_says_what_it_said(uneven, batch):
    before = logits(uneven, batch)
    weights = {name: weight.clone() for name, weight in uneven.state_dict().items()}
    smooth(uneven, [batch, batch])
    torch.testing.assert_close(logits(uneven, batch), before, rtol=1e-6, atol=1e-6)
    changed = {name for name, w in uneven.state_dict().items() if not torch.equal(w, weights[name])}
    stack = ("encoder", "decoder")
    for part in ("SelfAttention.v", "SelfAttention.o", "DenseReluDense.wi_1", "DenseReluDense.wo"):
        for side in stack:
            assert any(name.startswith(side) and part in name for name in changed)
    assert not any("final_layer_norm" in name or "shared" in name for name in changed)
    assert all(not module._forward_pre_hooks for module in uneven.modules())


def test_eight_bits_then_lose_less(uneven, batch, tiny_model):
    exact = logits(uneven, batch)
    other = tiny_model().eval()
    other.load_state_dict(uneven.state_dict())
    rough = (logits(quantize(other), batch) - exact).norm()
    smooth(uneven, [batch])
    assert (logits(quantize(uneven), batch) - exact).norm() < 0.5 * rough


def test_a_layer_without_a_gate_is_left_to_its_norm(batch):
    config = kebyt5.load("tiny").config
    config.feed_forward_proj, config.is_gated_act, config.dense_act_fn = "relu", False, "relu"
    torch.manual_seed(0)
    model = KEByT5ForConditionalGeneration(config).eval()
    before = logits(model, batch)
    smooth(model, [batch])
    torch.testing.assert_close(logits(model, batch), before, rtol=1e-6, atol=1e-6)


def test_padding_has_no_say(tiny_model):
    ids = torch.randint(3, 259, (1, 30), generator=torch.Generator().manual_seed(0))
    alone = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, :8]}
    other = {name: each[:, :1].expand_as(each) for name, each in alone.items()}
    padded = {name: torch.cat([each, other[name]]) for name, each in alone.items()}
    longer = torch.full((2, 60), 200)  # what is there does not count
    padded["input_ids"] = torch.cat([padded["input_ids"], longer], dim=1)
    padded["attention_mask"] = torch.cat([padded["attention_mask"], longer * 0], dim=1)
    expected, found = tiny_model(), tiny_model()
    smooth(expected, [alone, other])
    smooth(found, [padded])
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), parameter, atol=0, rtol=0)
