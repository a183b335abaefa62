"""Only the threads that run models use several cores, which they share."""

import asyncio
import gc
import os
import sys
import threading
import time
import weakref

import pytest
import torch

from kebyt5.serving.threads import DaemonThreads, _quota, leave_cores_to_workers
from kebyt5.serving.worker import Worker


def test_workers_share_the_cores_and_nobody_else_has_any(model):
    cores = torch.get_num_threads()
    found, nice = [], []

    async def threads_of(worker):
        return await worker.call(lambda model: torch.get_num_threads())

    async def niceness_of(worker):
        return await worker.call(
            lambda model: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        )

    def serve():
        torch.set_num_threads(4)
        threads = leave_cores_to_workers(2)
        worker = Worker(model, 1, "test", threads)
        worker.start()
        found.extend([torch.get_num_threads(), asyncio.run(threads_of(worker))])
        nice.extend([os.getpriority(os.PRIO_PROCESS, 0), asyncio.run(niceness_of(worker))])
        worker.stop()

    server = threading.Thread(target=serve)  # the setting is one of each thread
    server.start()
    server.join()
    torch.set_num_threads(cores)  # of threads to come
    assert found == [1, 2]
    if sys.platform == "linux":
        assert nice[1] > nice[0]  # whoever answers goes first


@pytest.mark.parametrize(
    ("content", "cores"),
    [("200000 100000\n", 2), ("150000 100000", 2), ("5000 100000", 1), ("max 100000", sys.maxsize)],
)
def test_a_container_may_have_fewer_cores_than_the_machine(tmp_path, content, cores):
    limit = tmp_path / "cpu.max"
    assert _quota(limit) == sys.maxsize
    limit.write_text(content)
    assert _quota(limit) == cores


def test_what_never_ends_keeps_only_its_own_place():
    async def check():
        stuck, threads = threading.Event(), DaemonThreads(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await threads.run(stuck.wait)
        assert await threads.run(max, 1, 2) == 2
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await threads.run(stuck.wait)
        waiting = asyncio.create_task(threads.run(max, 1, 2))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        stuck.set()
        assert await waiting == 2

    asyncio.run(asyncio.wait_for(check(), 30))  # without a free place it would wait for ever


def test_what_a_failed_function_held_is_freed_at_once():
    class Large:
        pass

    kept = []

    def fail():
        large = Large()
        kept.append(weakref.ref(large))
        raise ValueError("too large")

    async def check():
        with pytest.raises(ValueError, match="too large"):
            await DaemonThreads(1).run(fail)

    gc.disable()
    try:
        asyncio.run(asyncio.wait_for(check(), 30))
        deadline = time.monotonic() + 10
        while kept[0]() is not None and time.monotonic() < deadline:  # until the thread has ended
            time.sleep(0.01)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_thread_that_cannot_be_started_takes_no_place(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    async def check():
        threads = DaemonThreads(1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await threads.run(max, 1, 2)
        assert await threads.run(max, 1, 2) == 2

    asyncio.run(asyncio.wait_for(check(), 30))
