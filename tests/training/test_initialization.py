"""Random models are drawn as in T5, but their heads begin with an eye for what is near."""

import pytest
import torch

from kebyt5.training.initialization import random_model


@pytest.mark.parametrize("shape", ["kebyt5-tiny", "gbst-kebyt5-tiny"])
@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_each_head_begins_with_a_bias_that_falls_with_the_distance(shape, stack):
    attention = getattr(random_model(shape, 0), stack).block[0].layer[0].SelfAttention
    bias = attention.compute_bias(100, 100)[0]  # (heads, queries, keys)
    before = bias[:, -1].flip(-1)  # of the last position, by distance
    assert torch.equal(before[:, 0], torch.zeros(4))
    for distance in range(1, 8):
        torch.testing.assert_close(
            before[:, distance], -distance * torch.tensor([1, 1 / 4, 1 / 16, 1 / 64])
        )
    assert (before.diff(dim=-1) <= 0).all()
    assert (before[:, -1] < before[:, 40]).all()
    if stack == "encoder":
        torch.testing.assert_close(bias, bias.transpose(1, 2))


def test_a_seed_gives_the_same_weights_and_another_others():
    models = [random_model("gbst-kebyt5-tiny", seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["lm_head.weight"], models[2]["lm_head.weight"])
