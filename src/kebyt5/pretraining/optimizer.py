"""Learning rates that differ between weights."""

import torch
from transformers import PreTrainedModel


def slow_down_queries(optimizer: torch.optim.Optimizer, model: PreTrainedModel) -> None:
    """Divides the learning rate of query projections by the square root of d_kv.

    T5 does not divide attention scores by that root but initializes queries smaller by this factor.
    Adam's steps are equally large for all weights, so scores would change faster than everything
    else by this factor. Adafactor as T5 was trained with (Shazeer and Stern 2018, section 8) scales
    steps by the size of the weights and avoids this; in Transformers that scaling is off. Without
    the smaller rate, a decoder learns to ignore its encoder (docs/log.md).

    Args:
        optimizer: An optimizer without any state yet.
        model: The KEByT5, GBST-KEByT5 or ByT5 model of the optimizer, wrapped or not.
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
