"""Measuring a server under load: many clients with texts of mixed lengths, some leaving early.

Every answer is compared with that of Transformers' plain greedy search for the same text. The
clients and the server share the machine.
"""

import asyncio
import codecs
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import httpx2
import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.bench.measure import processor_seconds, resident_memory
from kebyt5.bench.weights import Weights
from kebyt5.client import AsyncClient, GenerateRequest, ServerError, TextEnd, TextPiece
from kebyt5.errors import InputError
from kebyt5.generation.request import encode_input
from kebyt5.models.loading import load
from kebyt5.models.tokenization_kebyt5 import OFFSET
from kebyt5.progress import progress_bars, track
from kebyt5.serving.options import ServeOptions
from kebyt5.tasks import get_task

SAMPLE = Path(__file__).parents[1] / "assets" / "sample_ner" / "dev.tsv"
"""File with the sentences of the texts."""

SENTENCES = (1, 1, 1, 2, 2, 4, 8)
"""Numbers of sentences in a text, drawn with equal probability."""

LIMITS = (32, 64, 128, 256)
"""Limits on the bytes generated, drawn with equal probability."""

CROWD = 64
"""Number of clients beyond the server's places, to overload it."""

PATIENCE = 600.0
"""Deadline of requests in seconds; a large model on few cores needs minutes for a full queue."""

PAUSE = 0.5
"""Seconds until a client that was refused asks again."""

TOO_BUSY = 429

_SEED = 0


@dataclass(frozen=True)
class Question:
    """A request, its right answer, and the seconds that Transformers took for it."""

    request: GenerateRequest
    answer: str
    seconds: float


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


@dataclass(frozen=True)
class Endurance:
    """All measurements of a server under load.

    Attributes:
        plain: Answers per second of Transformers' `generate`, one text at a time, without a server.
        alone: Answers to one request at a time.
        together: Answers to all clients at once.
        overload: Answers to more clients than there are places.
        drained: Seconds from the last question to the last answer under overload.
        stopped: Answers to requests that were accepted before the server was told to stop.
        memory: Seconds and resident bytes of the server while all clients were active.
        refusing: Seconds that the server took for each refusal.
    """

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


def bench_serve(
    checkpoint: str, clients: int, seconds: float, cancelled: float, questions: int
) -> Endurance:
    """Starts a server and puts it under load.

    Args:
        checkpoint: Checkpoint to serve.
        clients: Number of simultaneous clients.
        seconds: Duration of the load.
        cancelled: Share of the requests that are cancelled early.
        questions: Number of different questions.

    Raises:
        InputError: The server does not start.
    """
    asked = make_questions(load(checkpoint), questions)
    with TemporaryFile() as log:
        with _server(checkpoint, log) as (url, process):
            found = asyncio.run(_measure(asked, url, process, clients, seconds, cancelled))
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


def make_questions(model: PreTrainedModel, count: int) -> list[Question]:
    """Draws texts and limits, and answers them by Transformers, one at a time."""
    rng = random.Random(_SEED)
    task = get_task("ner")
    sentences = [example.inputs["sentence"] for example in task.read(SAMPLE)]
    questions = []
    _greedy(model, GenerateRequest(input=sentences[0], max_new_bytes=LIMITS[0]))  # warms up
    for _ in track(range(count), "Answers to compare with"):
        sentence = " ".join(rng.choices(sentences, k=rng.choice(SENTENCES)))
        text = task.input_text(task.example(sentence=sentence))
        request = GenerateRequest(input=text, max_new_bytes=rng.choice(LIMITS))
        began = time.perf_counter()
        answer = _greedy(model, request)
        questions.append(Question(request, answer, time.perf_counter() - began))
    return questions


@torch.inference_mode()
def _greedy(model: PreTrainedModel, request: GenerateRequest) -> str:
    (text,) = request.inputs
    ids = torch.from_numpy(encode_input(text, "huggingface"))[None]
    generated = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request.max_new_bytes,
        do_sample=False,
        num_beams=1,
    )[0, 1:].tolist()
    data = bytes(i - OFFSET for i in generated if i >= OFFSET)
    ends = generated[-1] == model.generation_config.eos_token_id
    # An incomplete character at the limit is dropped; elsewhere it becomes U+FFFD.
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data, ends)


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
    questions: Sequence[Question],
    url: str,
    process: subprocess.Popen[bytes],
    clients: int,
    seconds: float,
    cancelled: float,
) -> Endurance:
    with progress_bars() as bar:
        bar.add_task("Under load", total=None)
        connections = clients + ServeOptions().places + CROWD
        async with AsyncClient(
            url, timeout=PATIENCE, patience=0, connections=connections
        ) as client:
            ask = partial(_ask, client)
            load = partial(_load, ask, questions, process.pid)
            await load(clients, min(10.0, seconds), 0.0)  # warms up
            alone = await load(1, seconds / 5, 0.0)
            async with _watching(process.pid) as memory:
                together = await load(clients, seconds, cancelled)
            brief = min(10.0, seconds)
            overload = await load(ServeOptions().places + CROWD, brief, 0.0)
            drained = overload.seconds - brief
            stopped = await _stop(ask, questions, process, clients)
    plain = len(questions) / sum(each.seconds for each in questions)
    return Endurance(plain, alone, together, overload, drained, stopped, memory)


async def _load(
    ask: Any,
    questions: Sequence[Question],
    process_id: int,
    clients: int,
    seconds: float,
    cancelled: float,
) -> Answers:
    """Runs clients that ask one question after another for some time."""
    answers = Answers()
    end = time.monotonic() + seconds

    async def one_client(number: int) -> None:
        rng = random.Random(number)
        await asyncio.sleep(number / clients)  # not all of them at once
        while time.monotonic() < end:
            question = rng.choice(questions)
            asking = asyncio.ensure_future(ask(question, answers, rng.random() < 0.5))
            if rng.random() < cancelled:
                await asyncio.wait({asking}, timeout=rng.random())
                if not asking.done():
                    answers.cancelled += 1
                asking.cancel()
            with suppress(asyncio.CancelledError):
                if await asking == TOO_BUSY:
                    await asyncio.sleep(PAUSE)

    began, used = time.monotonic(), processor_seconds(process_id)
    await asyncio.gather(*map(one_client, range(clients)))
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
    ask: Any, questions: Sequence[Question], process: subprocess.Popen[bytes], requests: int
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


__all__ = [
    "Answers",
    "Endurance",
    "Question",
    "bench_serve",
    "enlarged",
    "make_questions",
    "seconds_to_refuse",
]
