"""A copy of a model on Ray Serve.

Ray logs the messages of exceptions, which may quote what a user wrote. A replica therefore returns
problems instead of raising exceptions.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ray.serve.metrics import Gauge

from kebyt5.models.loading import load
from kebyt5.process import limit_kernel_caches, prepare_process
from kebyt5.serving.logs import configure
from kebyt5.serving.metrics import Engines
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem, report
from kebyt5.serving.schemas import (
    EmbedRequest,
    FillRequest,
    GenerateRequest,
    ModelRequest,
    ScoreRequest,
)
from kebyt5.serving.service import LocalService
from kebyt5.serving.tasks import REQUESTS
from kebyt5.serving.threads import leave_cores_to_workers

_REQUESTS: Mapping[str, type[ModelRequest]] = {
    "generate": GenerateRequest,
    "fill": FillRequest,
    "score": ScoreRequest,
    "embed": EmbedRequest,
}
"""What the methods of a service take, but for `answer`, where it depends on the task."""


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
        self._service = LocalService(name, load(source), options, cores)
        self._service.start()
        self._engines = Engines({name: self._service})
        self._gauges: dict[str, Gauge] = {}

    async def info(self) -> str:
        """Describes the model."""
        return (await self._service.info()).model_dump_json()

    async def call(self, method: str, body: str, *task: str) -> str | Problem:
        """Calls a method of the service, other than `stream`, with a request.

        Args:
            method: Name of the method.
            body: The request.
            *task: Name of the task, for `answer` only.
        """
        try:
            kind = REQUESTS[task[0]] if task else _REQUESTS[method]
            request = kind.model_validate_json(body)
            return (await getattr(self._service, method)(*task, request)).model_dump_json()
        except Exception as error:
            return report(error)

    async def stream(self, body: str) -> AsyncGenerator[tuple[str, str] | Problem]:
        """Generates texts and yields the class name and JSON of each event."""
        try:
            request = GenerateRequest.model_validate_json(body)
            async for event in self._service.stream(request):
                yield type(event).__name__, event.model_dump_json() if event else ""
        except Exception as error:
            yield report(error)

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
