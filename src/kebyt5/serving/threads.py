"""Who multiplies with the cores of a machine that serves.

OpenMP keeps a pool of threads for every thread that ever asked for products. Once all pools
together have more threads than there are cores, it no longer waits actively for the next product,
and the short ones of a decoder take twice as long. So only the threads that run models have pools,
and these share the cores.
"""

import torch


def leave_cores_to_workers(workers: int) -> int:
    """Has this thread multiply alone from now on; call it before it first does.

    Args:
        workers: Threads that are to share the cores instead.

    Returns:
        How many threads each of them may multiply with.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    return max(1, cores // workers)


__all__ = ["leave_cores_to_workers"]
