"""Process-wide settings for computing on the CPU: memory, denormals, kernel caches.

The most important one keeps freed memory in the process instead of returning it to the kernel. By
default glibc maps every large block anew and unmaps it when it is freed. A training step on the
CPU allocates gigabytes in such blocks, and the kernel has to clear every page each time: page
faults can take longer than the arithmetic. With freed memory kept, the second step finds its
memory ready.
"""

import ctypes
import os
import sys

SWITCH = "KEBYT5_KEEP_MEMORY"
"""Environment variable; "0" leaves the allocator as it is."""

KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Environment variables that size the kernel caches of oneDNN and of PyTorch's layer above it."""

CACHED_KERNELS = "32"
"""Enough for the passes of a decoder, which repeat the same few shapes."""

# Parameters of mallopt(3), as in <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def prepare_process() -> None:
    """Sets up this process for computing; call it before the first large tensor is made.

    Besides keeping freed memory, it flushes denormal numbers to zero in this thread and in the
    threads started from it later. Attention weights close to zero are denormal, and arithmetic
    with them is about ten times as slow.
    """
    import torch

    keep_memory()
    torch.set_flush_denormal(True)


def keep_memory() -> bool:
    """Makes the allocator of this process keep the memory that PyTorch frees.

    The process then holds its peak memory until it ends: large blocks come from the heap instead
    of their own mappings, and the heap is not trimmed. Call this before the first large tensor is
    made; the commands do.

    Returns:
        Whether it took effect. It does nothing outside Linux with glibc, with jemalloc or tcmalloc
        preloaded (which keep memory by themselves), or where KEBYT5_KEEP_MEMORY is 0.
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
    """Makes oneDNN, and PyTorch's layer above it, cache the kernels of only a few shapes.

    By default each caches 1,024 kernels with their own buffers, so a server whose texts vary in
    length would grow for hours. Call this before the first model runs. Environment variables that
    are already set are left alone.
    """
    for name in KERNEL_CACHES:
        os.environ.setdefault(name, CACHED_KERNELS)
