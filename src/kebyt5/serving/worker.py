"""The thread that a model runs in, and how coroutines ask it for texts and other work."""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

import torch
from transformers import PreTrainedModel

from kebyt5.generation import Engine, Generated, GenerationOptions, Request
from kebyt5.serving.logs import log
from kebyt5.serving.threads import give_way

T = TypeVar("T")
_Event = str | Generated | BaseException

PIECES_EVERY = 0.05
"""Seconds between the pieces of a stream, at least: what else happens to each costs time too."""

STUCK = 300.0
"""Seconds from one pass to the next, or to the end of what is to do, after which a worker counts as
hung; the slowest pass, of the longest texts through a large model, takes a part of that."""


class Abandoned(Exception):
    """Nobody waits for a call any more."""


class Worker:
    """One engine, driven by one thread of its own.

    Whatever else needs the model runs in the same thread, in turns: between the passes of its
    decoder the engine has a turn as well, so no text waits for the end of it, and of a long call
    so has a short one that waits.

    Args:
        model: In evaluation mode; nobody else may change it.
        slots: Texts that are decoded at the same time.
        name: Of the thread.
        threads: PyTorch's, for its products; those of the thread that makes it where None.
    """

    def __init__(
        self, model: PreTrainedModel, slots: int, name: str, threads: int | None = None
    ) -> None:
        self.engine = Engine(model, slots)
        self._model = model
        self._threads = torch.get_num_threads() if threads is None else threads
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._prepare: Callable[[Engine], None] | None = None
        self._prepared: Future[None] = Future()
        self._wake = threading.Event()
        self._stopping = False
        self._ending = threading.Lock()
        self._ended: BaseException | None = None
        self._arrived: deque[_Ticket] = deque()  # here the threads meet,
        self._short: deque[_Call[Any]] = deque()  # here,
        self._long: deque[_Call[Any]] = deque()  # and here
        self._running: _Call[Any] | None = None
        self._is_stepping = False
        self._open: list[_Ticket] = []
        self._pieces_due = 0.0
        self._next_pass_due = math.inf  # while there is nothing to do

    def start(self, prepare: Callable[[Engine], None] | None = None) -> None:
        """Begins to work and waits until it is ready for requests.

        Args:
            prepare: Called in the worker's thread before anything else.

        Raises:
            Exception: From `prepare`; the thread has ended then, and so does every call.
        """
        self._prepare = prepare
        self._thread.start()
        if self._prepared.exception():
            self._thread.join()
        self._prepared.result()

    def stop(self) -> None:
        """Finishes what was asked for and ends the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, and is not stuck in what it does."""
        return self._thread.is_alive() and time.monotonic() < self._next_pass_due

    async def generate(self, input: str, options: GenerationOptions) -> Generated:
        """Generates one text; cancelling the coroutine frees the slot.

        Raises:
            Exception: Whatever kept it from being generated, such as a `ConstraintError`.
        """
        outcome: Generated | None = None
        async for event in self._events(input, options, streams=False):
            assert isinstance(event, Generated)
            outcome = event
        assert outcome is not None
        return outcome

    def stream(self, input: str, options: GenerationOptions) -> AsyncGenerator[str | Generated]:
        """Yields whole characters as they come, at last what `generate` returns."""
        return self._events(input, options, streams=True)

    async def call(self, function: Callable[[PreTrainedModel], T], is_long: bool = False) -> T:
        """Runs a function of the model in the worker's thread; cancelling the coroutine ends it.

        Args:
            function: Of the model.
            is_long: Whether it takes many passes, between which others may run that do not.
        """
        call = _Call(function, is_long)
        self._hand_over(call, self._long if is_long else self._short)
        try:
            return await asyncio.wrap_future(call.future)
        finally:
            call.is_wanted = False

    async def _events(
        self, input: str, options: GenerationOptions, streams: bool
    ) -> AsyncGenerator[str | Generated]:
        generation = self.engine.submit(input, options)
        ticket = _Ticket(generation, streams)
        try:
            self._hand_over(ticket, self._arrived)
            while True:
                event = await ticket.events.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, Generated):
                    return
        finally:
            generation.cancel()
            self._wake.set()

    def _hand_over(self, asked: T, place: deque[T]) -> None:
        """Puts something where the worker's thread finds it.

        Raises:
            BaseException: What ended that thread.
        """
        with self._ending:  # either it is there before the thread ends, or this knows of the end
            if self._ended:
                raise self._ended
            place.append(asked)
        self._wake.set()

    def _run(self) -> None:
        try:
            torch.set_num_threads(self._threads)  # of this one, and of those that compute later
            give_way()
            if self._prepare:
                self._prepare(self.engine)
            self._prepared.set_result(None)
            while True:
                self._wake.clear()
                is_busy = self._turn()
                # A long call first: the short ones have their turns in it.
                if call := _next(self._long) or _next(self._short):
                    self._answer(call)
                elif not is_busy:
                    if self._stopping:
                        break
                    self._next_pass_due = math.inf
                    self._wake.wait()
        except BaseException as error:
            self._end(error)
            if self._prepared.done():
                log("engine stopped", logging.ERROR, error)
            else:
                self._prepared.set_exception(error)
        else:
            self._end(RuntimeError("the worker is stopped"))

    def _end(self, error: BaseException) -> None:
        """Fails what was asked for and not answered; from now on nothing is handed over."""
        with self._ending:
            self._ended = error
        _deliver((ticket, error) for ticket in (*self._open, *self._arrived))
        for call in (*self._long, *self._short):
            call.fail(error)

    def _turn(self) -> bool:
        """Lets the engine decode a pass and hands on what came of it."""
        self._next_pass_due = time.monotonic() + STUCK
        self._is_stepping = True
        try:
            is_busy = self.engine.step()
        finally:
            self._is_stepping = False
        while self._arrived:
            self._open.append(self._arrived.popleft())
        if self._open:
            now = time.monotonic()
            if is_due := now >= self._pieces_due:
                self._pieces_due = now + PIECES_EVERY
            _deliver(event for ticket in self._open for event in ticket.collect(is_due))
            self._open = [ticket for ticket in self._open if not ticket.is_done]
        return is_busy or bool(self._open)

    def _answer(self, call: "_Call[Any]") -> None:
        def between_passes(*_: Any) -> None:
            if self._running is not call or threading.current_thread() is not self._thread:
                return  # a pass of another call, or of whoever else has the model
            if self._is_stepping:
                return  # the engine's own, which reads again where a byte is in doubt
            self._turn()
            if call.is_long and (short := _next(self._short)):
                self._answer(short)
            if not call.is_wanted:
                raise Abandoned

        outer, self._running = (self._running, self.engine.between_passes), call
        hook = self._model.decoder.register_forward_pre_hook(between_passes)
        self.engine.between_passes = between_passes
        try:
            with torch.inference_mode():
                result = call.function(self._model)
        except Abandoned:
            call.future.cancel()
        except Exception as error:
            call.fail(error)
        else:
            call.succeed(result)
        finally:
            hook.remove()
            self._running, self.engine.between_passes = outer


class _Ticket:
    """A text on its way, between the worker's thread and a coroutine.

    Args:
        generation: What the engine has of it.
        streams: Whether it is wanted piece by piece.
    """

    def __init__(self, generation: Request, streams: bool) -> None:
        self.generation = generation
        self.is_done = False
        self.events: asyncio.Queue[_Event] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self._streams = streams

    def collect(self, pieces: bool) -> "Iterator[tuple[_Ticket, _Event]]":
        """What there is to hand on; called in the worker's thread.

        Args:
            pieces: Whether text is wanted also before the end.
        """
        self.is_done = self.generation.done
        if self._streams and (pieces or self.is_done) and (text := self.generation.new_text()):
            yield self, text
        if self.is_done:
            try:
                yield self, self.generation.result()
            except Exception as error:
                yield self, error


def _deliver(events: Iterable[tuple[_Ticket, _Event]]) -> None:
    """Gives coroutines something to take, all those of a loop at once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Ticket, _Event]]] = {}
    for ticket, event in events:
        by_loop.setdefault(ticket.loop, []).append((ticket, event))
    for loop, found in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(_put, found)


def _put(events: Sequence[tuple[_Ticket, _Event]]) -> None:
    for ticket, event in events:
        ticket.events.put_nowait(event)


class _Call(Generic[T]):
    """A function on its way to the worker's thread and its result on the way back."""

    def __init__(self, function: Callable[[PreTrainedModel], T], is_long: bool) -> None:
        self.function = function
        self.is_long = is_long
        self.future: Future[T] = Future()
        self.is_wanted = True

    def succeed(self, result: T) -> None:
        """Hands on a result, unless nobody waits for it."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Hands on an error, unless nobody waits for it."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _next(calls: deque[_Call[Any]]) -> _Call[Any] | None:
    """The first call that somebody waits for, taken out; None where there is none."""
    while calls:
        if (call := calls.popleft()).is_wanted:
            return call
    return None


__all__ = ["Worker"]
