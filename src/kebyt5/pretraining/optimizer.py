"""What differs from weight to weight about an optimizer's steps."""

import torch
from transformers import PreTrainedModel


def slow_down_queries(optimizer: torch.optim.Optimizer, model: PreTrainedModel) -> None:
    """Gives the projections of queries the learning rate divided by the square root of d_kv.

    T5 does not divide scores by that root; its queries begin that much smaller instead. Steps of
    Adam are as large for all weights, so scores would move faster than everything else by that
    factor. Adafactor as in T5's training (Shazeer and Stern 2018, section 8) measures steps by the
    size of what they change, hence has no such trouble; its multiplication is off in Transformers.
    Without this, a decoder learns to do without its encoder (docs/log.md).

    Args:
        optimizer: Without any state yet.
        model: KEByT5, GBST-KEByT5 or ByT5, as the optimizer got it; wrapped or not.
    """
    share = model.config.d_kv**-0.5
    queries = {
        id(weight)
        for name, weight in model.named_parameters()
        if name.endswith("Attention.q.weight")
    }
    for group in list(optimizer.param_groups):
        moved = [weight for weight in group["params"] if id(weight) in queries]
        if moved:
            group["params"] = [weight for weight in group["params"] if id(weight) not in queries]
            optimizer.add_param_group(group | {"params": moved, "lr": share * group["lr"]})


__all__ = ["slow_down_queries"]
