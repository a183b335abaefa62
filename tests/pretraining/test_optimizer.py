"""Queries learn slower by the root that T5 leaves out of its scores."""

import pytest
import torch

from kebyt5.pretraining.optimizer import slow_down_queries
from kebyt5.training.initialization import random_model


@pytest.mark.parametrize("shape", ["kebyt5-tiny", "gbst-kebyt5-tiny"])
def test_steps_of_queries_are_an_eighth_of_all_others(shape):
    model = random_model(shape, 0)
    decayed = [weight for weight in model.parameters() if weight.ndim == 2]
    others = [weight for weight in model.parameters() if weight.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3,
    )
    slow_down_queries(optimizer, model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(model.parameters())
    )
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        rate = 1e-3 / 8 if name.endswith("Attention.q.weight") else 1e-3
        torch.testing.assert_close(
            before[name] - weight, torch.full_like(weight, rate), atol=1e-6, rtol=1e-2
        )


def test_weight_decay_stays_what_it_was():
    model = random_model("kebyt5-tiny", 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.25)
    slow_down_queries(optimizer, model)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-3 / 8]
