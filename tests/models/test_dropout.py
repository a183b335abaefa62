"""Dropout keeps the mean, and is a function of the seed."""

import pytest
import torch

from kebyt5.models.dropout import Dropout, dropout_mask


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    torch.manual_seed(0)
    x = torch.ones(500, 999, requires_grad=True)
    output = Dropout(rate).train()(x)
    output.sum().backward()
    output = output.detach()
    assert (output == 0).float().mean() == pytest.approx(rate, abs=0.004)
    assert output.mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(x.grad, output)  # the same mask and scale
    assert torch.equal(Dropout(rate).eval()(x), x)


def test_dropout_bits_are_independent_of_their_neighbours():
    torch.manual_seed(0)
    keep = dropout_mask(torch.Size([4000, 128]), 0.25).float()
    centred = keep - keep.mean()
    for distance in (1, 2, 3, 4):  # four of them share one random word
        assert (centred[:, distance:] * centred[:, :-distance]).mean().abs() < 0.002


def test_dropout_is_a_function_of_the_seed():
    x = torch.randn(30, 30)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(Dropout(0.3).train()(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
