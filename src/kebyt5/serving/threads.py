"""Who multiplies with the cores of a machine that serves.

OpenMP as GNU has it keeps a pool of threads for every thread that ever asked for products. Once all
pools together have more threads than there are cores, it no longer waits actively for the next
product, and the short ones of a decoder take twice as long. So the thread that starts a server
computes alone, and those that run models share the cores.
"""

import os
import sys
import threading

import torch

_NICE = 5
"""By which a thread that multiplies is nicer than one that answers, whose share of a core is three
times as large then."""


def leave_cores_to_workers(workers: int) -> int:
    """Has this thread multiply alone from now on; call it before it first does.

    Args:
        workers: Threads that are to share the cores instead.

    Returns:
        How many threads of PyTorch's each of them may have.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    return max(1, cores // workers)


def give_way() -> None:
    """Has this thread, and the pool it is to make, yield its core to those that answer requests.

    Products keep all cores busy for as long as there is anything to do, and a refusal that waits
    for its turn among them comes late. On Linux, where each thread has a niceness of its own.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICE
        os.setpriority(os.PRIO_PROCESS, thread, min(nice, 19))


__all__ = ["give_way", "leave_cores_to_workers"]
