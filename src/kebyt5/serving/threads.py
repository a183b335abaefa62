"""Threads of a server: who multiplies with the cores, and who may be given up.

OpenMP as GNU has it keeps a pool of threads for every thread that ever asked for products. Once all
pools together have more threads than there are cores, it no longer waits actively for the next
product, and the short ones of a decoder take twice as long. So the thread that starts a server
computes alone, and those that run models share the cores.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch

T = TypeVar("T")

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


class Expendable:
    """Runs functions that may never end, each in a daemon thread of its own.

    The threads of `asyncio.to_thread` are joined when the process ends, and while some of them are
    stuck, everybody else waits for a thread. Here only those who use the same object wait.

    Args:
        threads: Functions that may run at the same time. One whose caller has given up counts
            until it ends.
    """

    def __init__(self, threads: int) -> None:
        self._free = asyncio.Semaphore(threads)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Calls a function in a thread and returns what it returns, or raises what it raises."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def finish(result: T | None, error: BaseException | None) -> None:
            self._free.release()
            if done.cancelled():
                return
            if error is None:
                done.set_result(result)  # type: ignore[arg-type]
            else:
                done.set_exception(error)

        def work() -> None:
            result, failure = None, None
            try:
                result = function(*args)
            except BaseException as error:
                failure = error
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(finish, result, failure)

        threading.Thread(target=work, name=function.__name__, daemon=True).start()
        return await done


__all__ = ["Expendable", "give_way", "leave_cores_to_workers"]
