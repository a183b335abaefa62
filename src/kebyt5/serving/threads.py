"""Threads of a server: sharing the cores among them, and giving up those that never end.

GNU OpenMP keeps a pool of threads for every thread that ever ran a parallel region. Once all pools
together have more threads than there are cores, idle threads stop spinning while they wait, and the
short products of a decoder take twice as long. So the thread that starts a server computes with one
thread only, and the threads that run models share the cores.
"""

import asyncio
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

_NICE = 5
"""Niceness added to compute threads, which triples the share of those that answer requests."""


def leave_cores_to_workers(workers: int) -> int:
    """Limits this thread to a single compute thread; call it before PyTorch first computes.

    Args:
        workers: Number of worker threads that share the cores instead.

    Returns:
        The number of PyTorch threads that each worker may use.
    """
    cores = min(torch.get_num_threads(), _quota())
    torch.set_num_threads(1)
    return max(1, cores // workers)


def _quota(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Returns the cores that a container may keep busy, such as by `docker run --cpus`."""
    try:
        quota, period = limit.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return sys.maxsize


def give_way() -> None:
    """Lowers the priority of this thread, and of its future pool, below those answering requests.

    Compute threads keep all cores busy while there is work, so without this even a refusal would be
    late. It has an effect on Linux only, where each thread has its own niceness.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICE
        os.setpriority(os.PRIO_PROCESS, thread, min(nice, 19))


class DaemonThreads:
    """Runs functions that may never end, each in a daemon thread of its own.

    The threads of `asyncio.to_thread` are joined when the process ends, and while some of them are
    stuck, every other user of them waits. Here only the users of the same object wait.

    Args:
        threads: Most functions that run at the same time. One whose caller has given up counts
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
            del failure  # which holds this frame

        try:
            threading.Thread(target=work, name=function.__name__, daemon=True).start()
        except RuntimeError:  # there are too many threads already
            self._free.release()
            raise
        try:
            return await done
        finally:
            if not done.cancelled():  # or `finish` would still ask for it
                # Its error holds this frame: a cycle that would keep what the function left.
                del done
