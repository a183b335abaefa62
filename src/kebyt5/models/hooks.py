"""What hooks on modules need: that the module is called, and that each row it sees is a text."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_LIBRARIES = {"accelerate", "deepspeed", "kebyt5", "peft", "torch", "transformers"}
"""Packages whose hooks take states in whatever rows they come."""


def is_hooked(module: nn.Module) -> bool:
    """Whether the module has a forward hook or a replaced `forward`, so it has to be called."""
    everywhere = torch.nn.modules.module
    return bool(
        changes_output(module)
        or module._forward_pre_hooks
        or everywhere._global_forward_hooks
        or everywhere._global_forward_pre_hooks
    )


def changes_output(module: nn.Module) -> bool:
    """Whether the module itself has a hook after its `forward`, or a replaced `forward`."""
    hooks = module._forward_hooks
    return bool(hooks and any(map(_is_awake, hooks.values()))) or _has_other_forward(module)


def _has_other_forward(module: nn.Module) -> bool:
    """Whether an instance has a `forward` that is not the one of its class."""
    own = vars(module).get("forward")
    return own is not None and getattr(own, "__func__", own) is not type(module).forward


def _is_awake(hook: Callable[..., Any]) -> bool:
    """Whether a hook may do anything now.

    The hooks with which Transformers collects hidden states and attentions stay on a model after
    the first call that returns any, and are idle in later calls that return none. The private
    variable `_active_collector` that they check tells; hooks without it count as awake.
    """
    collector = getattr(hook, "__globals__", {}).get("_active_collector")
    return collector is None or bool(collector.get())


def are_watched(blocks: nn.Module) -> bool:
    """Whether a module within has a hook that may look for a text in each row of what it sees.

    The hooks of libraries that shard, move or adapt modules take rows as they are.
    """
    waiting: list[nn.Module | None] = [blocks]  # `modules()` takes longer
    while waiting:
        module = waiting.pop()
        if module is None:
            continue
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        ):
            if hooks and any(_home_of(hook) not in _LIBRARIES for hook in hooks.values()):
                return True
        waiting += module._modules.values()
    return False


def _home_of(hook: Any) -> str:
    """The package that a hook is from."""
    return str(getattr(getattr(hook, "func", hook), "__module__", "")).partition(".")[0]
