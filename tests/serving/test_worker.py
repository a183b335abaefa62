"""One thread runs a model for coroutines, which may cancel their requests."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kebyt5.generation import Engine, GenerationOptions
from kebyt5.generation.constraints import ConstraintError, Grammar
from kebyt5.generation.fill import fill
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.serving import worker as worker_module
from kebyt5.serving.worker import STUCK, Worker
from tests.serving.servers import LONG, SENTENCES

SHORT = GenerationOptions(max_new_bytes=30)
ENDLESS = GenerationOptions(max_new_bytes=100_000)


def run(model, scenario, slots=4):
    """Runs a coroutine function of a worker."""

    async def session():
        worker = Worker(model, slots, "test")
        worker.start()
        try:
            return await scenario(worker)
        finally:
            await asyncio.to_thread(worker.stop)
            assert not worker.is_alive

    return asyncio.run(session())


def filled(worker, text, *sizes):
    """Fills blanks as the service does."""
    return fill(worker.engine, text, *sizes, worker.take_turns)


def test_cancelling_frees_the_slot(model, greedy):
    async def scenario(worker):
        endless = [asyncio.ensure_future(worker.generate(LONG, ENDLESS)) for _ in range(2)]
        waiting = asyncio.ensure_future(worker.generate(LONG, SHORT))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        for each in endless:
            each.cancel()
        return (await waiting).text

    assert run(model, scenario, slots=2) == greedy(LONG, 30)


def test_closing_a_stream_frees_the_slot(model):
    async def scenario(worker):
        stream = worker.stream(LONG, ENDLESS)
        async for piece in stream:
            assert piece
            break
        await stream.aclose()
        await worker.generate(LONG, SHORT)
        return worker.engine.statistics.passes

    assert run(model, scenario, slots=1) < 10_000


def test_a_byte_in_doubt_is_read_again_also_while_other_work_is_under_way(model, monkeypatch):
    monkeypatch.setattr("kebyt5.generation.slot.DOUBT", 1e9)  # every byte

    async def scenario(worker):
        working = [
            worker.call(lambda m: log_likelihoods(m, [LONG], [["가" * 60] * 30]), True),
            worker.call(lambda _: filled(worker, f"{LONG}<extra_id_0>", 4, 1, 60), True),
        ]
        texts = [worker.generate(each, SHORT) for each in SENTENCES[:3]]
        return await asyncio.wait_for(asyncio.gather(*working, *texts), 60)

    found = run(model, scenario)[2:]
    monkeypatch.undo()
    assert [each.text for each in found] == [
        each.text for each in Engine(model).generate(SENTENCES[:3], SHORT)
    ]


def test_short_calls_do_not_wait_for_long_ones(model):
    async def scenario(worker):
        order = []

        async def ask(function, is_long):
            await worker.call(function, is_long)
            order.append(is_long)

        def search(_):
            filled(worker, f"{LONG}<extra_id_0>", 8, 1, 200)

        def score(model):
            log_likelihoods(model, [LONG], [["가", "나"]])

        await asyncio.gather(*(ask(search, True) for _ in range(2)), ask(score, False),
                             ask(score, False))  # fmt: skip
        return order

    assert run(model, scenario) == [False, False, True, True]


def test_whoever_else_has_the_model_does_not_drive_the_engine(model, monkeypatch):
    async def scenario(worker):
        begun, threads = threading.Event(), set()
        step = worker.engine.step

        def noted():
            threads.add(threading.current_thread())
            return step()

        def search(_):
            begun.set()
            filled(worker, f"{LONG}<extra_id_0>", 8, 1, 200)

        def elsewhere():
            begun.wait()
            ids = torch.tensor([[5, 6, 7]])
            for _ in range(3):
                model(input_ids=ids, decoder_input_ids=ids)

        monkeypatch.setattr(worker.engine, "step", noted)
        call = asyncio.ensure_future(worker.call(search, is_long=True))
        await asyncio.to_thread(elsewhere)
        assert not call.done()
        await call
        return {thread.name for thread in threads}

    assert run(model, scenario) == {"test"}


def test_a_call_that_nobody_waits_for_ends(model):
    passes = 0

    def count(model):
        nonlocal passes
        ids = torch.tensor([[5, 6, 7]])
        for _ in range(10_000):
            passes += 1
            model(input_ids=ids, decoder_input_ids=ids)

    async def scenario(worker):
        call = asyncio.ensure_future(worker.call(count))
        while not passes:
            await asyncio.sleep(0.01)
        call.cancel()
        await worker.call(lambda model: None)

    run(model, scenario)
    assert 0 < passes < 10_000


def test_results_do_not_depend_on_what_runs_in_between(model):
    async def scenario(worker):
        texts = asyncio.gather(*(worker.generate(LONG, SHORT) for _ in range(3)))
        among, (likelihood,) = await asyncio.gather(
            worker.call(lambda _: filled(worker, "가<extra_id_0>나", 4, 2, 8), is_long=True),
            worker.call(lambda model: log_likelihoods(model, [LONG], [["가"]])),
        )
        await texts
        np.testing.assert_allclose(likelihood, log_likelihoods(model, [LONG], [["가"]])[0], 1e-4)
        alone = await worker.call(lambda _: filled(worker, "가<extra_id_0>나", 4, 2, 8))
        return among, alone

    among, alone = run(model, scenario)
    assert [each.spans for each in among] == [each.spans for each in alone]


def test_errors_reach_the_one_who_asked_and_nobody_else(model):
    def broken(model):
        raise KeyError("broken")

    async def scenario(worker):
        other = asyncio.ensure_future(worker.generate(LONG, SHORT))
        with pytest.raises(KeyError, match="broken"):
            await worker.call(broken)
        constraint = Grammar.regex("a") & Grammar.regex("b")
        with pytest.raises(ConstraintError):
            await worker.generate("가", GenerationOptions(constraint=constraint))
        return (await other).finish

    assert run(model, scenario) == "length"


def test_stopping_finishes_what_was_asked(model):
    async def scenario(worker):
        asked = [asyncio.ensure_future(worker.generate(LONG, SHORT)) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.to_thread(worker.stop)
        finished = [each.finish for each in await asyncio.gather(*asked)]
        with pytest.raises(RuntimeError, match="stopped"):
            await worker.generate(LONG, SHORT)
        return finished

    assert run(model, scenario, slots=2) == ["length"] * 6


def test_when_the_thread_dies_nobody_waits_for_ever(model, monkeypatch):
    async def scenario(worker):
        asked = asyncio.ensure_future(worker.generate(LONG, ENDLESS))
        await asyncio.sleep(0.1)
        monkeypatch.setattr(worker.engine, "step", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asked
        worker._thread.join()
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda model: None)
        assert not worker.is_alive

    run(model, scenario)


def test_nothing_that_arrives_while_the_thread_dies_is_forgotten(model, monkeypatch):
    """Several threads hand over work without a pause, so the end may come at any point."""
    monkeypatch.setattr(worker_module, "log", lambda *_: None)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    async def ask(worker):
        for _ in range(20):
            texts = [worker.generate("가", SHORT) for _ in range(5)]
            asked = asyncio.gather(*texts, worker.call(id), return_exceptions=True)
            assert {type(each) for each in await asyncio.wait_for(asked, 20)} == {ZeroDivisionError}

    def dies_when_asked(worker):
        while not worker._arrived:
            pass
        1 / 0  # noqa: B018

    try:
        for _ in range(40):
            worker = Worker(model, 4, "test")
            monkeypatch.setattr(worker.engine, "step", partial(dies_when_asked, worker))
            worker.start()
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(asyncio.run, [ask(worker) for _ in range(4)]))
            worker._thread.join()
    finally:
        sys.setswitchinterval(interval)


def test_a_worker_that_hangs_does_not_count_as_alive(model, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def scenario(worker):
        clock.now += 2 * STUCK
        assert worker.is_alive  # has nothing to do
        release = threading.Event()
        hanging = asyncio.ensure_future(worker.call(lambda model: release.wait()))
        await asyncio.sleep(0.1)
        clock.now += 2 * STUCK
        was_alive = worker.is_alive
        release.set()
        await hanging
        assert not was_alive

        def four_passes(model):
            ids = torch.tensor([[5, 1]])
            signs = []
            for _ in range(4):
                clock.now += 0.9 * STUCK
                model(input_ids=ids, decoder_input_ids=ids)
                signs.append(worker.is_alive)
            return signs

        assert all(await worker.call(four_passes))

    run(model, scenario)


def test_a_worker_that_cannot_prepare_says_so(model):
    def fail(engine):
        raise MemoryError("no room for a full batch")

    worker = Worker(model, 1, "test")
    with pytest.raises(MemoryError, match="full batch"):
        worker.start(fail)
    assert not worker.is_alive
    with pytest.raises(MemoryError, match="full batch"):
        asyncio.run(worker.call(lambda model: None))
