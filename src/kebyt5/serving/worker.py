"""The thread that runs a model, and how coroutines hand it work."""

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
"""Shortest time, in seconds, between two pieces of a stream, since handling each one costs time."""

STUCK = 300.0
"""Seconds without the end of a pass, or of the work, after which a worker counts as hung. The
slowest pass, of the longest texts through a large model, takes a fraction of this."""


class Abandoned(Exception):
    """Raised inside a call that nobody waits for any more."""


class Worker:
    """One engine, driven by its own thread.

    Other functions of the model run in the same thread (`call`). Between their decoder passes the
    engine gets a turn, so no text waits for a call to end; within a long call, waiting short calls
    get a turn too.

    Args:
        model: The model, in evaluation mode; nobody else may change it.
        slots: Number of texts decoded at the same time.
        name: Name of the thread.
        threads: Number of PyTorch threads to compute with; that of the calling thread if None.
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
        # These three are shared between threads; appending and popping are atomic.
        self._arrived: deque[_Ticket] = deque()
        self._short: deque[_Call[Any]] = deque()
        self._long: deque[_Call[Any]] = deque()
        self._running: _Call[Any] | None = None
        self._is_stepping = False
        self._open: list[_Ticket] = []
        self._pieces_due = 0.0
        self._next_pass_due = math.inf  # no pass is due while there is no work

    def start(self, prepare: Callable[[Engine], None] | None = None) -> None:
        """Starts the thread and waits until it is ready for requests.

        Args:
            prepare: Function to call in the worker's thread before anything else.

        Raises:
            Exception: From `prepare`; the thread has then ended, and every later call fails.
        """
        self._prepare = prepare
        self._thread.start()
        if self._prepared.exception():
            self._thread.join()
        self._prepared.result()

    def stop(self) -> None:
        """Finishes all work that was handed over and ends the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs and is not stuck."""
        return self._thread.is_alive() and time.monotonic() < self._next_pass_due

    async def generate(self, input: str, options: GenerationOptions) -> Generated:
        """Generates one text; cancelling the coroutine frees the slot.

        Raises:
            Exception: Whatever made the generation fail, such as a `ConstraintError`.
        """
        outcome: Generated | None = None
        async for event in self._events(input, options, streams=False):
            assert isinstance(event, Generated)
            outcome = event
        assert outcome is not None
        return outcome

    def stream(self, input: str, options: GenerationOptions) -> AsyncGenerator[str | Generated]:
        """Yields whole characters as they are generated, and finally what `generate` returns."""
        return self._events(input, options, streams=True)

    async def call(self, function: Callable[[PreTrainedModel], T], is_long: bool = False) -> T:
        """Runs a function of the model in the worker's thread; cancelling the coroutine ends it.

        Args:
            function: Takes the model; its result is returned.
            is_long: Whether it takes many passes, between which short calls may run.
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
        """Adds a ticket or a call to a queue of the worker's thread and wakes the thread.

        Raises:
            BaseException: The error that ended the thread.
        """
        with self._ending:  # `_end` fails everything in the queues, so nothing may be added after
            if self._ended:
                raise self._ended
            place.append(asked)
        self._wake.set()

    def _run(self) -> None:
        hook = self._model.decoder.register_forward_pre_hook(self.take_turns)
        try:
            torch.set_num_threads(self._threads)  # for this thread, and threads that start later
            give_way()
            if self._prepare:
                self._prepare(self.engine)
            self._prepared.set_result(None)
            while True:
                self._wake.clear()
                is_busy = self._turn()
                # A long call goes first, since short calls get turns within it.
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
        finally:
            hook.remove()

    def _end(self, error: BaseException) -> None:
        """Fails all unanswered work; from now on `_hand_over` raises `error`."""
        with self._ending:
            self._ended = error
        _deliver((ticket, error) for ticket in (*self._open, *self._arrived))
        for call in (*self._long, *self._short):
            call.fail(error)

    def _turn(self) -> bool:
        """Runs one pass of the engine, delivers its output, and tells whether work is left."""
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

    def take_turns(self, *_: Any) -> None:
        """Lets the engine and short calls have their turn before a decoder pass of a call.

        Passes of the model's decoder bring it about themselves; other functions have to call it.

        Raises:
            Abandoned: Nobody waits for the call any more.
        """
        call = self._running
        if call is None or threading.current_thread() is not self._thread:
            return  # the pass belongs to another user of the model
        if self._is_stepping:
            return  # the pass is the engine's own: it reads again where a byte is in doubt
        self._turn()
        if call.is_long and (short := _next(self._short)):
            self._answer(short)
        if not call.is_wanted:
            raise Abandoned

    def _answer(self, call: "_Call[Any]") -> None:
        outer, self._running = self._running, call
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
            self._running = outer


class _Ticket:
    """A text being generated, with the queue that carries it from the worker to a coroutine.

    Args:
        generation: The engine's handle of the text.
        streams: Whether the coroutine wants the text piece by piece.
    """

    def __init__(self, generation: Request, streams: bool) -> None:
        self.generation = generation
        self.is_done = False
        self.events: asyncio.Queue[_Event] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self._streams = streams

    def collect(self, pieces: bool) -> "Iterator[tuple[_Ticket, _Event]]":
        """Yields the new events of this text; called in the worker's thread.

        Args:
            pieces: Whether to yield pieces of text before the end, too.
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
    """Puts events in the queues of their coroutines, with one call for each event loop."""
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
    """A function to run in the worker's thread, and the future of its result."""

    def __init__(self, function: Callable[[PreTrainedModel], T], is_long: bool) -> None:
        self.function = function
        self.is_long = is_long
        self.future: Future[T] = Future()
        self.is_wanted = True

    def succeed(self, result: T) -> None:
        """Sets the result, unless nobody waits for it."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Sets the error, unless nobody waits for it."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _next(calls: deque[_Call[Any]]) -> _Call[Any] | None:
    """Pops the first call that somebody still waits for; None if there is none."""
    while calls:
        if (call := calls.popleft()).is_wanted:
            return call
    return None
