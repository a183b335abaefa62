"""The service of a model in this process."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.evaluation.predict import Windows
from kebyt5.generation import Engine, Generated, GenerationOptions
from kebyt5.generation.constraints import Constraint
from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.generation.encoding import batch_of_like_length, encode
from kebyt5.generation.fill import fill
from kebyt5.generation.likelihood import MAX_PASS, log_likelihoods
from kebyt5.generation.request import GenerationStatistics, encode_input
from kebyt5.models.int8 import Int8Linear
from kebyt5.serving.admission import Admission
from kebyt5.serving.constraints import requested_constraint
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem
from kebyt5.serving.protocol import Event
from kebyt5.serving.schemas import (
    ByteCounts,
    EmbedRequest,
    EmbedResponse,
    FilledText,
    FillRequest,
    FillResponse,
    GeneratedText,
    GenerateRequest,
    GenerateResponse,
    ModelInfo,
    Score,
    ScoreRequest,
    ScoreResponse,
    TextEnd,
    TextPiece,
)
from kebyt5.serving.tasks import RESPONSES, TaskRequest, TaskResponse, answered, examples_of
from kebyt5.serving.threads import DaemonThreads
from kebyt5.serving.worker import Worker
from kebyt5.tasks import Example, Task, get_task
from kebyt5.tasks.metrics.classification import softmax

COMPILERS = 4
"""Constraints that are compiled at the same time."""

WARM_UP = 0.5
"""Seconds after which the warm-up of a service tries no longer texts."""


@dataclass(frozen=True)
class TaskAnswer:
    """A model's answer to one example of a task.

    Attributes:
        text: The answer.
        inputs: The texts that the model read, one for each window.
        shortened: Whether the model could not see the whole input at once.
        log_likelihoods: Log-likelihoods of the task's labels; None if they were not compared.
    """

    text: str
    inputs: Sequence[str]
    shortened: bool
    log_likelihoods: Sequence[float] | None


class _Over:
    """The end of a stream."""


_Written = Event | BaseException | _Over


class LocalService:
    """A model in this process, run by a worker thread.

    Args:
        name: Name of the model.
        model: The model, in evaluation mode.
        options: Limits of the server.
        threads: Number of PyTorch threads to compute with; that of the calling thread if None.

    Attributes:
        model: The model.
        places: The places for accepted texts.
        worker: The worker that runs the model.
    """

    def __init__(
        self, name: str, model: PreTrainedModel, options: ServeOptions, threads: int | None = None
    ) -> None:
        self.name = name
        self.model = model
        self._admission = Admission(options)
        self.places = self._admission.places
        self.worker = Worker(model, options.slots, name, threads)
        self._compiling = DaemonThreads(COMPILERS)
        self._options = options
        int8 = [each.weight for each in model.modules() if isinstance(each, Int8Linear)]
        self._info = ModelInfo(
            name=name,
            architecture=type(model).__name__,
            parameters=sum(each.numel() for each in (*model.parameters(), *int8)),
            dtype="int8" if int8 else str(model.dtype).removeprefix("torch."),
        )

    def start(self) -> None:
        """Starts the worker and warms it up, so that the first text need not wait for that."""
        self.worker.start(self._warm_up)

    def _warm_up(self, engine: Engine) -> None:
        """Generates full batches of ever longer texts, for about `WARM_UP` seconds.

        This also shows whether there is enough memory before the first request arrives.
        """
        longest = self._options.max_input_bytes
        began, size = time.monotonic(), min(16, longest)
        while size <= longest and time.monotonic() - began < WARM_UP:
            texts = ["a" * size] * self._options.slots
            engine.generate(texts, GenerationOptions(max_new_bytes=8))
            size *= 4
        engine.statistics = GenerationStatistics()

    async def stop(self) -> None:
        """Finishes the accepted requests and stops the worker."""
        await asyncio.to_thread(self.worker.stop)

    @property
    def refusal(self) -> Problem | None:
        """The problem to refuse every request with while all places are taken; None otherwise."""
        return self.places.refusal()

    @property
    def is_alive(self) -> bool:
        """Whether the worker's thread runs and is not stuck."""
        return self.worker.is_alive

    async def info(self) -> ModelInfo:
        """Describes the model."""
        return self._info

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""
        with self._admission.admit(request.inputs, request.deadline) as due:
            options = await self._generation_options(request, due)
            texts = await self._generate_all(request.inputs, [options] * len(request.inputs))
        results = [
            GeneratedText(text=each.text, finish=each.finish, statistics=_counts(each))
            for each in texts
        ]
        return GenerateResponse(model=self.name, results=results)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Yields None once the request is accepted, then the texts piece by piece."""
        events: asyncio.Queue[_Written] = asyncio.Queue()
        # A separate task, so that a client that stops reading does not keep its places.
        writing = asyncio.create_task(self._write(request, events))
        try:
            while not isinstance(event := await events.get(), _Over):
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            writing.cancel()

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task."""
        the_task = get_task(task)
        examples = examples_of(the_task, request)
        by_likelihood = getattr(request, "decoding", None) == "likelihood"
        predicted = await self.predict(
            the_task, examples, by_likelihood, request.constrain, request.deadline
        )
        results = [
            answered(the_task, example, each.text, each.shortened, each.log_likelihoods)
            for example, each in zip(examples, predicted, strict=True)
        ]
        return RESPONSES[task](model=self.name, results=results)

    async def predict(
        self,
        task: Task,
        examples: Sequence[Example],
        by_likelihood: bool,
        constrained: bool = False,
        deadline: float | None = None,
    ) -> list[TaskAnswer]:
        """Answers examples of a task in the same way as `kebyt5.evaluation.predict`.

        Args:
            task: The task of the examples.
            examples: Examples without gold.
            by_likelihood: Whether to take the likeliest label instead of generating one.
            constrained: Whether to generate only texts that may be an answer.
            deadline: Seconds after which to give up; may shorten the server's own limit.
        """
        self._admission.check_count(len(examples))
        for example in examples:
            self._admission.check_size(example.inputs.values())
        # Elsewhere, since it may take long and all connections share this thread.
        windows = await asyncio.to_thread(Windows, task, examples)
        inputs = windows.inputs
        with self._admission.hold(len(inputs), deadline) as due:
            async with asyncio.timeout_at(due):
                found: Sequence[list[float] | None] = [None] * len(examples)
                if by_likelihood:
                    rows = await self._log_likelihoods(inputs, [task.labels] * len(inputs))
                    table = windows.surest(rows)
                    chosen, found = [task.labels[i] for i in table.argmax(1)], table.tolist()
                else:
                    chosen = await self._answers(task, windows, constrained, due)
        return [
            TaskAnswer(*each)
            for each in zip(chosen, windows.of(inputs), windows.truncated, found, strict=True)
        ]

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""
        with self._admission.admit([request.text], request.deadline) as due:
            self._admission.check_new_bytes(request.max_bytes, "max_bytes")
            sizes = (request.beams, request.results, request.max_bytes)
            engine, take_turns = self.worker.engine, self.worker.take_turns
            async with asyncio.timeout_at(due):
                found = await self.worker.call(
                    lambda _: fill(engine, request.text, *sizes, take_turns), is_long=True
                )
        fillings = [
            FilledText(spans=list(each.spans), text=each.text, log_likelihood=each.log_likelihood)
            for each in found
        ]
        return FillResponse(model=self.name, fillings=fillings)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Scores candidate outputs by their likelihood."""
        sizes = [len(text.encode()) for text in request.candidates]
        self._admission.check_new_bytes(max(sizes), "candidates")
        with self._admission.admit([request.input], request.deadline) as due:
            async with asyncio.timeout_at(due):
                (row,) = await self._log_likelihoods([request.input], [request.candidates])
        shares = softmax(np.array(row)).tolist()
        scores = [
            Score(log_likelihood=value, bytes=size, probability=share)
            for value, size, share in zip(row, sizes, shares, strict=True)
        ]
        return ScoreResponse(model=self.name, scores=scores, best=row.index(max(row)))

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Embeds texts as the means of their encoder states."""
        with self._admission.admit(request.inputs, request.deadline) as due:
            ids = [encode_input(text, "huggingface") for text in request.inputs]
            left = list(range(len(ids)))
            vectors: dict[int, list[float]] = {}
            while left:
                like = batch_of_like_length([len(ids[i]) for i in left])
                batch = [left[i] for i in like]
                left = [i for i in left if i not in batch]

                def work(model: PreTrainedModel, batch: list[int] = batch) -> list[torch.Tensor]:
                    return [each.float().mean(0) for each in encode(model, [ids[i] for i in batch])]

                async with asyncio.timeout_at(due):
                    means = torch.stack(await self.worker.call(work))
                if request.normalize:
                    means = torch.nn.functional.normalize(means)
                vectors.update(zip(batch, means.tolist(), strict=True))
        embeddings = [vectors[i] for i in range(len(ids))]
        return EmbedResponse(model=self.name, embeddings=embeddings)

    async def _generation_options(self, request: GenerateRequest, due: float) -> GenerationOptions:
        self._admission.check_new_bytes(request.max_new_bytes, "max_new_bytes")
        if request.sentinels == "pretraining":
            for text in request.inputs:  # refuses too many blanks before any work is done
                encode_input(text, request.sentinels)
        constraint = None
        if request.constraint:
            async with asyncio.timeout_at(due):
                # Labels are quick and need not wait for grammars.
                run = asyncio.to_thread if request.constraint.labels else self._compiling.run
                constraint = await run(requested_constraint, request.constraint)
        return GenerationOptions(
            max_new_bytes=request.max_new_bytes,
            constraint=constraint,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            stop=tuple(request.stop),
            deadline=_seconds_until(due),
            sentinels=request.sentinels,
        )

    async def _generate_all(
        self, inputs: Sequence[str], options: Sequence[GenerationOptions]
    ) -> list[Generated]:
        """Generates a text for each input; if one fails, the others are cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self.worker.generate(*each))
                    for each in zip(inputs, options, strict=True)
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _write(self, request: GenerateRequest, events: asyncio.Queue[_Written]) -> None:
        """Generates the texts of a streamed request and puts their events in a queue."""
        try:
            with self._admission.admit(request.inputs, request.deadline) as due:
                options = await self._generation_options(request, due)
                events.put_nowait(None)
                async with asyncio.TaskGroup() as group:
                    for index, input in enumerate(request.inputs):
                        group.create_task(self._read(index, input, options, events))
            events.put_nowait(_Over())  # not before the places are free
        except Exception as error:
            events.put_nowait(error)

    async def _read(
        self,
        index: int,
        input: str,
        options: GenerationOptions,
        events: asyncio.Queue[_Written],
    ) -> None:
        """Puts the events of one input in the queue."""
        try:
            async with aclosing(self.worker.stream(input, options)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        events.put_nowait(TextPiece(index=index, text=piece))
                    else:
                        counts = _counts(piece)
                        end = TextEnd(index=index, finish=piece.finish, statistics=counts)
                        events.put_nowait(end)
        except Exception as error:
            events.put_nowait(error)

    async def _log_likelihoods(
        self, inputs: Sequence[str], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        rows = []
        # One input at a time, so that other requests get a turn in between.
        for input, texts in zip(inputs, candidates, strict=True):
            work = partial(log_likelihoods, inputs=[input], candidates=[texts])
            (row,) = await self.worker.call(work, _is_long(input, texts))
            rows.append(row.tolist())
        return rows

    async def _answers(
        self, task: Task, windows: Windows, constrained: bool, due: float
    ) -> list[str]:
        """Generates texts for all windows and chooses one for each example."""
        constraints: Sequence[Constraint | None] = [None] * len(windows.shown)
        if constrained:
            # The constraint of a long parse takes a while to build; other requests need not wait.
            constraints = await asyncio.to_thread(task_constraints, task, windows.shown)
        options = [
            GenerationOptions(
                max_new_bytes=min(task.max_target_bytes(part), self._options.max_new_bytes),
                constraint=constraint,
                deadline=_seconds_until(due),
            )
            for part, constraint in zip(windows.shown, constraints, strict=True)
        ]
        generated = await self._generate_all(windows.inputs, options)
        if any(each.finish == "deadline" for each in generated):
            raise TimeoutError
        texts = [each.text for each in generated]
        if len(texts) == len(windows.truncated):  # one for each example
            return texts
        return await self.worker.call(lambda model: windows.choose(model, texts), is_long=True)


def _is_long(input: str, candidates: Sequence[str]) -> bool:
    """Tells whether scoring the candidates takes more than a few passes."""
    longest = max(len(text.encode()) for text in (input, *candidates))
    return len(candidates) * longest > 4 * MAX_PASS


def _counts(generated: Generated) -> ByteCounts:
    return ByteCounts.model_validate(generated.statistics, from_attributes=True)


def _seconds_until(due: float) -> float:
    return max(0.0, due - asyncio.get_running_loop().time())
