"""Sharing the cores of a machine among the threads of a server.

GNU OpenMP keeps a pool of threads for every thread that ever ran a parallel region. Once all pools
together have more threads than there are cores, idle threads stop spinning while they wait, and the
short products of a decoder take twice as long. So the thread that starts a server computes with one
thread only, and the threads that run models share the cores.
"""

import os
import sys
import threading

import torch

_NICE = 5
"""Niceness added to compute threads, which triples the share of those that answer requests."""


def leave_cores_to_workers(workers: int) -> int:
    """Limits this thread to a single compute thread; call it before PyTorch first computes.

    Args:
        workers: Number of worker threads that share the cores instead.

    Returns:
        The number of PyTorch threads that each worker may use.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    return max(1, cores // workers)


def give_way() -> None:
    """Lowers the priority of this thread, and of its future pool, below those answering requests.

    Compute threads keep all cores busy while there is work, so without this even a refusal would be
    late. It has an effect on Linux only, where each thread has its own niceness.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICE
        os.setpriority(os.PRIO_PROCESS, thread, min(nice, 19))


__all__ = ["give_way", "leave_cores_to_workers"]
