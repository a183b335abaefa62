"""What can be asked of a model that is served, in the terms of the requests."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import choose_answers, fit_inputs
from kebyt5.generation import Generated, GenerationOptions
from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.generation.encoding import batch_of_like_length, encode
from kebyt5.generation.fill import fill
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.generation.request import encode_input
from kebyt5.serving.admission import Places
from kebyt5.serving.constraints import requested_constraint
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem
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
    ModelRequest,
    Score,
    ScoreRequest,
    ScoreResponse,
    TextEnd,
    TextPiece,
)
from kebyt5.serving.tasks import RESPONSES, TaskRequest, TaskResponse, answered, examples_of
from kebyt5.serving.worker import Worker
from kebyt5.tasks import Example, Task, get_task

T = TypeVar("T")

Event = TextPiece | TextEnd | None
"""Of a stream; None says that the request is accepted."""


class Service(Protocol):
    """A model that is served, here or elsewhere.

    Every method raises `Problem` for what it refuses and TimeoutError at the deadline, and gives up
    its work when the coroutine is cancelled.
    """

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""

    def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Generates texts and yields them as they grow; at first None, once it is accepted."""

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task."""

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judges candidates."""

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Represents texts as vectors."""

    async def info(self) -> ModelInfo:
        """Describes the model."""

    @property
    def is_alive(self) -> bool:
        """Whether it can work."""


class LocalService:
    """A model in this process, behind its worker.

    Args:
        name: Of the model.
        model: In evaluation mode.
        options: Limits.

    Attributes:
        places: How much of what is accepted is taken.
        worker: Runs the model.
    """

    def __init__(self, name: str, model: PreTrainedModel, options: ServeOptions) -> None:
        self.name = name
        self.places = Places(options.slots, options.places)
        self.worker = Worker(model, options.slots, name)
        self._options = options
        self._info = ModelInfo(
            name=name,
            architecture=type(model).__name__,
            parameters=model.num_parameters(),
            dtype=str(model.dtype).removeprefix("torch."),
        )

    def start(self) -> None:
        """Begins to work, with everything in place that the first text would wait for."""
        self.worker.engine.generate(["."], GenerationOptions(max_new_bytes=2))
        self.worker.start()

    async def stop(self) -> None:
        """Finishes what is accepted."""
        await asyncio.to_thread(self.worker.stop)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self.worker.is_alive

    async def info(self) -> ModelInfo:
        """Describes the model."""
        return self._info

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""
        with self._admitted(request, request.inputs) as deadline:
            options = await self._generation_options(request, deadline)
            texts = await self._generate_all(request.inputs, [options] * len(request.inputs))
        results = [
            GeneratedText(text=each.text, finish=each.finish, statistics=_counts(each))
            for each in texts
        ]
        return GenerateResponse(model=self.name, results=results)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Generates texts and yields them as they grow; at first None, once it is accepted."""
        with self._admitted(request, request.inputs) as deadline:
            options = await self._generation_options(request, deadline)
            yield None
            events: asyncio.Queue[Event | BaseException] = asyncio.Queue()
            readers = [
                asyncio.create_task(self._read(index, input, options, events))
                for index, input in enumerate(request.inputs)
            ]
            try:
                unfinished = len(readers)
                while unfinished:
                    event = await events.get()
                    if isinstance(event, BaseException):
                        raise event
                    unfinished -= isinstance(event, TextEnd)
                    yield event
            finally:
                for reader in readers:
                    reader.cancel()

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task, as `kebyt5.evaluation.predict` does."""
        the_task = get_task(task)
        examples = examples_of(the_task, request)
        for example in examples:
            self._check_size(example.inputs.values())
        inputs: list[str] = []
        parts: list[Example] = []
        windows: list[slice] = []
        shortened: list[bool] = []
        for example in examples:
            texts, shown, was_cut = fit_inputs(the_task, example, None, None, strict=False)
            windows.append(slice(len(inputs), len(inputs) + len(texts)))
            inputs += texts
            parts += shown
            shortened.append(was_cut)
        by_likelihood = getattr(request, "decoding", None) == "likelihood"
        with self._admitted(request, inputs, len(examples)) as deadline:
            async with asyncio.timeout_at(deadline):
                if by_likelihood:
                    labels = [the_task.labels] * len(inputs)
                    rows = await self._log_likelihoods(inputs, labels)
                    # Of several windows, the one that is surest of its label.
                    best = [max(rows[window], key=max) for window in windows]
                    chosen = [the_task.labels[row.index(max(row))] for row in best]
                    found: Sequence[list[float] | None] = best
                else:
                    found = [None] * len(examples)
                    chosen = await self._answers(
                        the_task, examples, inputs, parts, windows, request.constrain, deadline
                    )
        results = [
            answered(the_task, *each)
            for each in zip(examples, chosen, shortened, found, strict=True)
        ]
        return RESPONSES[task](model=self.name, results=results)

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""
        with self._admitted(request, [request.text]) as deadline:
            if request.max_bytes > self._options.max_new_bytes:
                raise self._too_many_new_bytes(request.max_bytes, "max_bytes")
            work = partial(
                fill,
                text=request.text,
                num_beams=request.beams,
                results=request.results,
                max_bytes=request.max_bytes,
            )
            async with asyncio.timeout_at(deadline):
                found = await self.worker.call(work)
        fillings = [
            FilledText(spans=list(each.spans), text=each.text, log_likelihood=each.log_likelihood)
            for each in found
        ]
        return FillResponse(model=self.name, fillings=fillings)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judges candidates."""
        sizes = [len(text.encode()) for text in request.candidates]
        if sum(sizes) > self._options.max_body_bytes or max(sizes) > self._options.max_new_bytes:
            raise self._too_many_new_bytes(max(sizes), "candidates")
        with self._admitted(request, [request.input]) as deadline:
            async with asyncio.timeout_at(deadline):
                (row,) = await self._log_likelihoods([request.input], [request.candidates])
        shares = torch.tensor(row, dtype=torch.float64).softmax(0).tolist()
        scores = [
            Score(log_likelihood=value, bytes=size, probability=share)
            for value, size, share in zip(row, sizes, shares, strict=True)
        ]
        return ScoreResponse(model=self.name, scores=scores, best=row.index(max(row)))

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Represents texts by the means of their encoder states."""
        with self._admitted(request, request.inputs) as deadline:
            ids = [encode_input(text, "huggingface") for text in request.inputs]
            left = list(range(len(ids)))
            vectors: dict[int, list[float]] = {}
            while left:
                like = batch_of_like_length([len(ids[i]) for i in left])
                batch = [left[i] for i in like]
                left = [i for i in left if i not in batch]

                def work(model: PreTrainedModel, batch: list[int] = batch) -> list[torch.Tensor]:
                    return [each.float().mean(0) for each in encode(model, [ids[i] for i in batch])]

                async with asyncio.timeout_at(deadline):
                    means = torch.stack(await self.worker.call(work))
                if request.normalize:
                    means = torch.nn.functional.normalize(means)
                vectors.update(zip(batch, means.tolist(), strict=True))
        embeddings = [vectors[i] for i in range(len(ids))]
        return EmbedResponse(model=self.name, embeddings=embeddings)

    @contextmanager
    def _admitted(
        self, request: ModelRequest, inputs: Sequence[str], texts: int | None = None
    ) -> Iterator[float]:
        """Holds places for a request that is within the limits; yields when it has to be done.

        Args:
            request: What is asked.
            inputs: What the model reads, each of which takes a place.
            texts: In the request; as many as inputs where it is None.
        """
        limit = self._options.max_texts
        if (texts or len(inputs)) > limit:
            raise Problem(422, f"{texts or len(inputs)} texts; send {limit} a request at most")
        if texts is None:
            for input in inputs:
                self._check_size([input])
        if len(inputs) > self.places.total:
            raise Problem(
                422,
                f"the inputs are read in {len(inputs)} windows, more than the"
                f" {self.places.total} there is room for; send fewer or shorter ones",
            )
        seconds = min(request.deadline or self._options.deadline, self._options.deadline)
        with self.places.take(len(inputs)):
            yield asyncio.get_running_loop().time() + seconds

    def _check_size(self, texts: Iterable[str]) -> None:
        size, limit = sum(len(text.encode()) for text in texts), self._options.max_input_bytes
        if size > limit:
            raise Problem(422, f"an input of {size} bytes; send {limit} bytes at most, or in parts")

    def _too_many_new_bytes(self, size: int, field: str) -> Problem:
        limit = self._options.max_new_bytes
        return Problem(422, f"{field}: {size} bytes; ask for {limit} bytes at most")

    async def _generation_options(
        self, request: GenerateRequest, deadline: float
    ) -> GenerationOptions:
        if request.max_new_bytes > self._options.max_new_bytes:
            raise self._too_many_new_bytes(request.max_new_bytes, "max_new_bytes")
        constraint = None
        if request.constraint:
            async with asyncio.timeout_at(deadline):
                constraint = await asyncio.to_thread(requested_constraint, request.constraint)
        return GenerationOptions(
            max_new_bytes=request.max_new_bytes,
            constraint=constraint,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            stop=tuple(request.stop),
            deadline=_seconds_until(deadline),
            sentinels=request.sentinels,
        )

    async def _generate_all(
        self, inputs: Sequence[str], options: Sequence[GenerationOptions]
    ) -> list[Generated]:
        """Generates a text for each input; where one fails, the others are given up."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self.worker.generate(*each))
                    for each in zip(inputs, options, strict=True)
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _read(
        self,
        index: int,
        input: str,
        options: GenerationOptions,
        events: asyncio.Queue[Event | BaseException],
    ) -> None:
        """Puts what is generated for one input among the events of all."""
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
        for pair in zip(inputs, candidates, strict=True):

            def work(model: PreTrainedModel, pair: tuple[str, Sequence[str]] = pair) -> np.ndarray:
                return log_likelihoods(model, [pair[0]], [pair[1]])[0]

            # One input at a time, so that others get their turn in between.
            rows.append((await self.worker.call(work)).tolist())
        return rows

    async def _answers(
        self,
        task: Task,
        examples: Sequence[Example],
        inputs: Sequence[str],
        parts: Sequence[Example],
        windows: Sequence[slice],
        constrained: bool,
        deadline: float,
    ) -> list[str]:
        """Generates texts for all windows and chooses one for each example."""
        constraints = task_constraints(task, parts) if constrained else [None] * len(parts)
        options = [
            GenerationOptions(
                max_new_bytes=min(task.max_target_bytes(part), self._options.max_new_bytes),
                constraint=constraint,
                deadline=_seconds_until(deadline),
            )
            for part, constraint in zip(parts, constraints, strict=True)
        ]
        generated = await self._generate_all(inputs, options)
        if any(each.finish == "deadline" for each in generated):
            raise TimeoutError
        texts = [each.text for each in generated]

        def choose(model: PreTrainedModel) -> list[str]:
            return choose_answers(model, task, examples, inputs, texts, windows, PredictOptions())

        return await self.worker.call(choose) if len(inputs) > len(examples) else texts


def _counts(generated: Generated) -> ByteCounts:
    names = ByteCounts.model_fields
    return ByteCounts(**{name: getattr(generated.statistics, name) for name in names})


def _seconds_until(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


__all__ = ["Event", "LocalService", "Service"]
