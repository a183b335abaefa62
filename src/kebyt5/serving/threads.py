"""Who multiplies with the cores of a machine that serves.

OpenMP as GNU has it keeps a pool of threads for every thread that ever asked for products. Once all
pools together have more threads than there are cores, it no longer waits actively for the next
product, and the short ones of a decoder take twice as long. So the thread that starts a server
computes alone, and those that run models share the cores.
"""

import torch


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


__all__ = ["leave_cores_to_workers"]
