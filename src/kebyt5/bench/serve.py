"""Measuring a server under load: many clients with texts of mixed lengths, some leaving early.

Every answer is compared with that of Transformers' plain greedy search for the same text. The
clients and the server share the machine.
"""

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

import httpx2
import numpy as np

from kebyt5.bench.measure import processor_seconds, resident_memory
from kebyt5.bench.questions import Question, make_questions
from kebyt5.bench.weights import Weights
from kebyt5.client import AsyncClient, ServerError, TextEnd, TextPiece
from kebyt5.errors import InputError
from kebyt5.progress import progress_bars
from kebyt5.serving.options import ServeOptions

CROWD = 64
"""Number of clients beyond the server's places, to overload it."""

PATIENCE = 600.0
"""Deadline of requests in seconds; a large model on few cores needs minutes for a full queue."""

PAUSE = 0.5
"""Seconds until a client that was refused asks again."""

TOO_BUSY = 429


@dataclass(frozen=True)
class Load:
    """Clients that ask one question after another for some time.

    Attributes:
        clients: Number of simultaneous clients.
        seconds: Duration of the load.
        cancelled: Share of the requests that are cancelled early.
    """

    clients: int
    seconds: float
    cancelled: float = 0.0


@dataclass
class Answers:
    """The answers of one phase.

    Attributes:
        seconds: Duration of the phase.
        processor: Processor seconds that the server used in it.
        latencies: Seconds from the request to the complete answer, for every answer.
        first: Seconds to the first characters, for every streamed answer.
        bytes: Number of bytes in complete answers.
        cancelled: Number of requests cancelled on purpose.
        tied: Number of answers that differ from the right one where two ids were equally likely
            within rounding.
        wrong: Number of other answers that differ from the right one.
        failed: Number of requests without an answer, by reason.
        refused: Seconds to each response with status 429.
    """

    seconds: float = 0.0
    processor: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    bytes: int = 0
    cancelled: int = 0
    tied: int = 0
    wrong: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    refused: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Complete answers per second."""
        return len(self.latencies) / self.seconds

    @property
    def cost(self) -> float:
        """Processor seconds per complete answer."""
        return self.processor / max(1, len(self.latencies))

    def percentile(self, percent: float) -> float:
        """Computes a percentile of the latencies."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")


Ask = Callable[[Question, Answers, bool], Awaitable[int]]
"""Asks a question, streaming or not, and adds to the answers; returns the status or 0."""


@dataclass(frozen=True)
class Endurance:
    """All measurements of a server under load.

    Attributes:
        load: The load of all clients.
        plain: Answers per second of Transformers' `generate`, one text at a time, without a server.
        alone: Answers to one request at a time.
        together: Answers to all clients at once.
        overload: Answers to more clients than there are places.
        drained: Seconds from the last question to the last answer under overload.
        stopped: Answers to requests that were accepted before the server was told to stop.
        memory: Seconds and resident bytes of the server while all clients were active.
        refusing: Seconds that the server took for each refusal.
    """

    load: Load
    plain: float
    alone: Answers
    together: Answers
    overload: Answers
    drained: float
    stopped: Answers
    memory: Sequence[tuple[float, int]]
    refusing: Sequence[float] = ()

    @property
    def growth(self) -> float:
        """Relative growth of the median memory from the first to the last fifth of the time."""
        sizes = [size for _, size in self.memory]
        part = max(1, len(sizes) // 5)
        return float(np.median(sizes[-part:]) / np.median(sizes[:part])) - 1


def bench_serve(checkpoint: str, load: Load, questions: int) -> Endurance:
    """Starts a server and puts it under load.

    Args:
        checkpoint: Checkpoint to serve.
        load: The load of all clients.
        questions: Number of different questions.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        InputError: The server does not start.
    """
    asked = make_questions(checkpoint, questions)
    with TemporaryFile() as log:
        with _server(checkpoint, log) as (url, process):
            found = asyncio.run(_measure(asked, url, process, load))
        log.seek(0)
        return replace(found, refusing=seconds_to_refuse(log))


@contextmanager
def enlarged(size: str | None, checkpoint: str) -> Iterator[str]:
    """Yields the checkpoint to serve: the given one, or a copy widened to a size.

    Args:
        size: One of `weights.SIZES`; None for the checkpoint itself.
        checkpoint: The given checkpoint.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        InputError: The checkpoint cannot be widened.
    """
    if size is None:
        yield checkpoint
        return
    with TemporaryDirectory(prefix="kebyt5-bench-") as folder:
        Weights.copying(size, checkpoint).save_checkpoint(Path(folder))
        yield folder


def seconds_to_refuse(log: Iterable[bytes]) -> list[float]:
    """Reads the seconds that a server took for each refusal from its log."""
    entries = (json.loads(line) for line in log if line.startswith(b"{"))
    return [entry["seconds"] for entry in entries if entry.get("status") == TOO_BUSY]


@contextmanager
def _server(checkpoint: str, log: IO[bytes]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs a server in its own process, logging to a file; yields its address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "kebyt5", "serve", checkpoint, "--port", str(port)]
    command += ["--deadline", f"{PATIENCE:g}", "--no-playground"]
    with subprocess.Popen(command, stderr=log) as process:
        try:
            while process.poll() is None:
                with suppress(httpx2.TransportError):
                    if httpx2.get(f"{url}/readyz").status_code == 200:
                        break
                time.sleep(0.2)
            else:
                raise InputError(f"the server exited with {process.returncode}; try {command}")
            yield url, process
        finally:
            process.kill()


async def _measure(
    questions: Sequence[Question], url: str, process: subprocess.Popen[bytes], load: Load
) -> Endurance:
    with progress_bars() as bar:
        bar.add_task("Under load", total=None)
        connections = load.clients + ServeOptions().places + CROWD
        async with AsyncClient(
            url, timeout=PATIENCE, patience=0, connections=connections
        ) as client:
            ask = partial(_ask, client)
            under = partial(_answers_under, ask, questions, process.pid)
            brief = min(10.0, load.seconds)
            await under(Load(load.clients, brief))  # warms up
            alone = await under(Load(1, load.seconds / 5))
            async with _watching(process.pid) as memory:
                together = await under(load)
            overload = await under(Load(ServeOptions().places + CROWD, brief))
            drained = overload.seconds - brief
            stopped = await _stop(ask, questions, process, load.clients)
    plain = len(questions) / sum(each.seconds for each in questions)
    return Endurance(load, plain, alone, together, overload, drained, stopped, memory)


async def _answers_under(
    ask: Ask, questions: Sequence[Question], process_id: int, load: Load
) -> Answers:
    """Runs the clients of a load."""
    answers = Answers()
    end = time.monotonic() + load.seconds

    async def one_client(number: int) -> None:
        rng = random.Random(number)
        await asyncio.sleep(number / load.clients)  # not all of them at once
        while time.monotonic() < end:
            question = rng.choice(questions)
            asking = asyncio.ensure_future(ask(question, answers, rng.random() < 0.5))
            if rng.random() < load.cancelled:
                await asyncio.wait({asking}, timeout=rng.random())
                if not asking.done():
                    answers.cancelled += 1
                asking.cancel()
            with suppress(asyncio.CancelledError):
                if await asking == TOO_BUSY:
                    await asyncio.sleep(PAUSE)

    began, used = time.monotonic(), processor_seconds(process_id)
    await asyncio.gather(*map(one_client, range(load.clients)))
    answers.seconds = time.monotonic() - began
    answers.processor = processor_seconds(process_id) - used
    return answers


async def _ask(client: AsyncClient, question: Question, answers: Answers, streams: bool) -> int:
    """Asks a question and checks the answer; returns the status, or 0 if there is none."""
    began = time.perf_counter()
    text, ties, first = "", 0, None
    try:
        if streams:
            async for event in client.stream(question.request):
                if isinstance(event, TextPiece):
                    first = first or time.perf_counter() - began
                    text += event.text
                elif isinstance(event, TextEnd):
                    ties = event.statistics.ties
        else:
            (result,) = (await client.generate(question.request)).results
            text, ties = result.text, result.statistics.ties
    except ServerError as error:
        if error.status == TOO_BUSY:
            answers.refused.append(time.perf_counter() - began)
        else:
            _count(answers, str(error.status))
        return error.status
    except httpx2.HTTPError as error:
        _count(answers, type(error).__name__)
        return 0
    answers.latencies.append(time.perf_counter() - began)
    answers.bytes += len(text.encode())
    if first is not None:
        answers.first.append(first)
    if text != question.answer:
        if ties:
            answers.tied += 1
        else:
            answers.wrong += 1
    return 200


def _count(answers: Answers, reason: str) -> None:
    answers.failed[reason] = answers.failed.get(reason, 0) + 1


async def _stop(
    ask: Ask, questions: Sequence[Question], process: subprocess.Popen[bytes], requests: int
) -> Answers:
    """Sends requests, tells the server to stop once it has accepted them, and waits for both."""
    answers = Answers()
    began = time.monotonic()
    chosen = [questions[i % len(questions)] for i in range(requests)]
    asking = [asyncio.ensure_future(ask(each, answers, True)) for each in chosen]
    await asyncio.sleep(0.5)  # until they are accepted, and before they are answered
    process.send_signal(signal.SIGTERM)
    await asyncio.gather(*asking)
    answers.seconds = time.monotonic() - began
    await asyncio.to_thread(process.wait)
    return answers


@asynccontextmanager
async def _watching(process_id: int) -> AsyncIterator[list[tuple[float, int]]]:
    """Records the memory of a process every second during the block."""
    memory: list[tuple[float, int]] = []
    began = time.monotonic()

    async def watch() -> None:
        while True:
            memory.append((time.monotonic() - began, resident_memory(process_id)))
            await asyncio.sleep(1)

    watching = asyncio.ensure_future(watch())
    try:
        yield memory
    finally:
        watching.cancel()
