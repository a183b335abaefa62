"""A copy of a model on Ray Serve.

Ray logs the messages of exceptions, which may quote what a user wrote. A replica therefore returns
problems instead of raising exceptions.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import wraps
from typing import Any

from pydantic import BaseModel
from ray.serve.metrics import Gauge

from kebyt5.process import limit_kernel_caches, prepare_process
from kebyt5.serving.logs import configure
from kebyt5.serving.metrics import Engines
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem, report
from kebyt5.serving.registry import load_models
from kebyt5.serving.schemas import EmbedRequest, FillRequest, GenerateRequest, ScoreRequest
from kebyt5.serving.service import LocalService
from kebyt5.serving.tasks import REQUESTS
from kebyt5.serving.threads import leave_cores_to_workers


def _replies(
    method: Callable[..., Awaitable[BaseModel]],
) -> Callable[..., Awaitable[str | Problem]]:
    """Decorates a method of a replica to return its response as JSON, or a problem."""

    @wraps(method)
    async def reply(*args: Any) -> str | Problem:
        try:
            return (await method(*args)).model_dump_json()
        except Exception as error:
            return report(error)

    return reply


class Replica:
    """One copy of a model, which takes requests as JSON and returns JSON or a `Problem`.

    Args:
        name: Name of the model.
        source: Checkpoint of the model.
        options: Limits of the server.
        cores: Number of cores to compute with.
    """

    def __init__(self, name: str, source: str, options: ServeOptions, cores: int) -> None:
        configure()
        prepare_process()
        limit_kernel_caches()
        leave_cores_to_workers(1)
        model = load_models({name: source})[name]
        self._service = LocalService(name, model, options, cores)
        self._service.start()
        self._engines = Engines({name: self._service})
        self._gauges: dict[str, Gauge] = {}

    @_replies
    async def info(self) -> BaseModel:
        """Describes the model."""
        return await self._service.info()

    @_replies
    async def generate(self, body: str) -> BaseModel:
        """Generates texts."""
        return await self._service.generate(GenerateRequest.model_validate_json(body))

    async def stream(self, body: str) -> AsyncGenerator[tuple[str, str] | Problem]:
        """Generates texts and yields the class name and JSON of each event."""
        try:
            request = GenerateRequest.model_validate_json(body)
            async for event in self._service.stream(request):
                yield type(event).__name__, event.model_dump_json() if event else ""
        except Exception as error:
            yield report(error)

    @_replies
    async def answer(self, task: str, body: str) -> BaseModel:
        """Answers inputs of a task."""
        return await self._service.answer(task, REQUESTS[task].model_validate_json(body))

    @_replies
    async def fill(self, body: str) -> BaseModel:
        """Fills blanks."""
        return await self._service.fill(FillRequest.model_validate_json(body))

    @_replies
    async def score(self, body: str) -> BaseModel:
        """Scores candidate outputs by their likelihood."""
        return await self._service.score(ScoreRequest.model_validate_json(body))

    @_replies
    async def embed(self, body: str) -> BaseModel:
        """Embeds texts as vectors."""
        return await self._service.embed(EmbedRequest.model_validate_json(body))

    def check_health(self) -> None:
        """Reports metrics to Ray, and fails if Ray has to replace this replica.

        Raises:
            RuntimeError: The engine has stopped or hangs.
        """
        if not self._service.is_alive:
            raise RuntimeError("the engine has stopped or hangs")
        for family in self._engines.collect():
            for name, labels, value, *_ in family.samples:
                if name not in self._gauges:
                    keys: Any = tuple(labels)  # Ray Serve's annotation allows only one key
                    self._gauges[name] = Gauge(name, family.documentation, keys)
                self._gauges[name].set(value, dict(labels))


__all__ = ["Replica"]
