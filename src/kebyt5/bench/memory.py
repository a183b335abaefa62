"""Estimating how much memory a case needs, without using it."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

RUNTIME_BYTES = 600 * 2**20
"""Approximate memory of Python and its libraries before any tensor is allocated."""

_SMALL = 2**20
"""Largest number of elements of an integer tensor that has values in a rehearsal."""

UNUSED_SHARE = 0.2
"""Memory of the allocator and of kernels' scratch space, as a share of the tensors' bytes.

Measured on the base model in training steps of 512 and 1,024 bytes: 0.07 to 0.18.
"""


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all live tensors; `peak` is the maximum so far.

    It is used inside `FakeTensorMode`. Results that depend only on small integer tensors, such as
    lengths and masks, are really computed, since the course of a forward pass may depend on them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if all(map(_has_values, inputs)) and _stays_small(func, args, kwargs):
            with unset_fake_temporarily():
                result = func(*args, **kwargs)
        else:
            result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        # The address of the storage object itself, since fake storages have no data.
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += size
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _has_values(tensor: Tensor) -> bool:
    return not isinstance(tensor, FakeTensor) and not tensor.dtype.is_floating_point


def _stays_small(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Tells whether a function returns small integer tensors, or values instead of tensors."""
    try:
        leaves = tree_leaves(func(*args, **kwargs))
    except (DataDependentOutputException, DynamicOutputShapeException):
        return True
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    return all(not t.dtype.is_floating_point and t.numel() <= _SMALL for t in tensors)


def rehearse(make_case: Callable[[], Callable[[], Any]]) -> int:
    """Runs a case on tensors that have shapes but no values, and estimates its peak memory.

    Args:
        make_case: Makes the weights and returns the case. Of what it allocates, only what the case
            keeps is counted.

    Returns:
        The estimated peak memory of a fresh process in bytes.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), _LiveBytes() as bytes_:
        case = make_case()
        gc.collect()
        bytes_.peak = bytes_.live
        case()
    return RUNTIME_BYTES + int((1 + UNUSED_SHARE) * bytes_.peak)


def available_memory() -> int:
    """Returns the bytes that this process may still allocate on this machine and in its cgroup."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min(available * 1024, _room_in_control_group())


def _room_in_control_group(folder: Path = Path("/sys/fs/cgroup")) -> int:
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return 2**62
    return 2**62 if limit == "max" else int(limit) - used
