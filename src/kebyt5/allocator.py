"""What a process that computes is set to.

Above all it keeps freed memory for the next step instead of giving it back to the kernel. By
default glibc maps every large block anew and unmaps it when it is freed. A training step on the
CPU allocates gigabytes of them, and the kernel has to clear each page once more: page faults can
take longer than the arithmetic. Told to keep what is freed, the second step finds its memory
ready.
"""

import ctypes
import os
import sys

import torch

SWITCH = "KEBYT5_KEEP_MEMORY"
"""Environment variable; "0" leaves the allocator as it is."""

KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Environment variables: the kernels that oneDNN keeps, and those that PyTorch does."""

CACHED_KERNELS = "32"
"""Enough for the passes of a decoder, which have the same few shapes again and again."""

# Parameters of mallopt(3), as in <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def prepare_process() -> None:
    """Sets up this process to compute; call it before the first large tensor is made.

    Besides keeping memory it has the processor take denormal numbers for zero, in this thread and
    in those that it starts later. Attention weights next to zero are such numbers, and take a
    processor ten times as long.
    """
    keep_memory()
    torch.set_flush_denormal(True)


def keep_memory() -> bool:
    """Has the allocator of this process keep the memory that PyTorch frees.

    The process then holds its peak until it ends. Blocks are no longer mapped on their own, and
    the heap is not trimmed. Call it before the first large tensor is made; the commands do.

    Returns:
        Whether it took effect: not outside Linux with glibc, not with jemalloc or tcmalloc
        preloaded (which keep memory by themselves), not where KEBYT5_KEEP_MEMORY is 0.
    """
    if os.environ.get(SWITCH) == "0" or not sys.platform.startswith("linux"):
        return False
    if any(name in os.environ.get("LD_PRELOAD", "") for name in ("jemalloc", "tcmalloc")):
        return False
    process = ctypes.CDLL(None)
    if not hasattr(process, "gnu_get_libc_version"):
        return False
    kept = process.mallopt(M_TRIM_THRESHOLD, -1)  # never
    return bool(kept and process.mallopt(M_MMAP_MAX, 0))


def limit_kernel_caches() -> None:
    """Has oneDNN, and PyTorch's layer above it, keep the kernels of a few shapes only.

    Each of them keeps 1,024 otherwise, with buffers of their own, so that a server whose texts have
    all lengths grows for hours. Call it before the first model runs; variables that are set stay.
    """
    for name in KERNEL_CACHES:
        os.environ.setdefault(name, CACHED_KERNELS)


__all__ = ["keep_memory", "limit_kernel_caches", "prepare_process"]
