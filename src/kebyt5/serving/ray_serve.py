"""The same app on Ray Serve: replicas of each model, as many as load asks for, behind an ingress.

The ingress reads and checks requests and hands them to a replica. Where a replica dies, it hands
what was in there to another one: a text depends on its request alone, so that of a stream which is
half sent goes on where it was.
"""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar

import ray
from pydantic import BaseModel
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError

from kebyt5.errors import InputError
from kebyt5.serving.app import create_app
from kebyt5.serving.logs import configure, log
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem
from kebyt5.serving.registry import load_models
from kebyt5.serving.schemas import (
    EmbedRequest,
    EmbedResponse,
    FillRequest,
    FillResponse,
    GenerateRequest,
    GenerateResponse,
    ModelInfo,
    ModelRequest,
    ScoreRequest,
    ScoreResponse,
    TextEnd,
    TextPiece,
)
from kebyt5.serving.service import Event, LocalService
from kebyt5.serving.tasks import REQUESTS, RESPONSES, TaskRequest, TaskResponse

APPLICATION = "kebyt5"
INGRESS = "ingress"

_PAUSE = 0.2  # seconds before a request is handed to another replica

AnyResponse = TypeVar("AnyResponse", bound=BaseModel)


class Replica:
    """One copy of a model; requests and responses go in and out as JSON.

    Args:
        name: Of the model.
        source: Its checkpoint.
        options: Limits.
    """

    def __init__(self, name: str, source: str, options: ServeOptions) -> None:
        self._service = LocalService(name, load_models({name: source})[name], options)
        self._service.start()

    async def info(self) -> str:
        """Describes the model."""
        return (await self._service.info()).model_dump_json()

    async def generate(self, body: str) -> str:
        """Generates texts."""
        request = GenerateRequest.model_validate_json(body)
        return (await self._service.generate(request)).model_dump_json()

    async def stream(self, body: str) -> AsyncGenerator[tuple[str, str]]:
        """Generates texts and yields kind and JSON of each event."""
        request = GenerateRequest.model_validate_json(body)
        async for event in self._service.stream(request):
            yield type(event).__name__, event.model_dump_json() if event else ""

    async def answer(self, task: str, body: str) -> str:
        """Answers inputs of a task."""
        request = REQUESTS[task].model_validate_json(body)
        return (await self._service.answer(task, request)).model_dump_json()

    async def fill(self, body: str) -> str:
        """Fills blanks."""
        request = FillRequest.model_validate_json(body)
        return (await self._service.fill(request)).model_dump_json()

    async def score(self, body: str) -> str:
        """Judges candidates."""
        request = ScoreRequest.model_validate_json(body)
        return (await self._service.score(request)).model_dump_json()

    async def embed(self, body: str) -> str:
        """Represents texts as vectors."""
        request = EmbedRequest.model_validate_json(body)
        return (await self._service.embed(request)).model_dump_json()

    def check_health(self) -> None:
        """Lets Ray replace a replica that cannot work.

        Raises:
            RuntimeError: Its engine has stopped.
        """
        if not self._service.is_alive:
            raise RuntimeError("the engine has stopped")


class RemoteService:
    """A model behind a handle of Ray Serve; a `Service`.

    Args:
        handle: Of the deployment of `Replica`.
        options: Limits.
    """

    is_alive = True  # Ray looks after its replicas

    def __init__(self, handle: Any, options: ServeOptions) -> None:
        self._handle = handle
        self._options = options

    async def info(self) -> ModelInfo:
        """Describes the model."""
        patience = _Patience(ModelRequest(), self._options)
        return ModelInfo.model_validate_json(await self._ask("info", patience))

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""
        return await self._request("generate", request, GenerateResponse)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Generates texts and yields them as they grow; at first None, once it is accepted."""
        patience = _Patience(request, self._options)
        sent = [0] * len(request.inputs)
        ended: set[int] = set()
        is_accepted = False
        while True:
            seen = [0] * len(request.inputs)
            replies: Any = self._handle.options(stream=True).stream.remote(patience.body())
            try:
                async for kind, content in replies:
                    if kind == TextPiece.__name__:
                        piece = TextPiece.model_validate_json(content)
                        known = max(0, sent[piece.index] - seen[piece.index])
                        seen[piece.index] += len(piece.text)
                        if new := piece.text[known:]:
                            sent[piece.index] += len(new)
                            yield TextPiece(index=piece.index, text=new)
                    elif kind == TextEnd.__name__:
                        end = TextEnd.model_validate_json(content)
                        if end.index not in ended:
                            ended.add(end.index)
                            yield end
                    elif not is_accepted:
                        is_accepted = True
                        yield None
                return
            except (asyncio.CancelledError, GeneratorExit):
                replies.cancel()
                raise
            except Exception as error:
                await patience.after(error)

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task."""
        return await self._request("answer", request, RESPONSES[task], task)

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""
        return await self._request("fill", request, FillResponse)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judges candidates."""
        return await self._request("score", request, ScoreResponse)

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Represents texts as vectors."""
        return await self._request("embed", request, EmbedResponse)

    async def _request(
        self, method: str, request: ModelRequest, kind: type[AnyResponse], *task: str
    ) -> AnyResponse:
        patience = _Patience(request, self._options)
        return kind.model_validate_json(await self._ask(method, patience, *task))

    async def _ask(self, method: str, patience: "_Patience", *task: str) -> str:
        while True:
            body = () if method == "info" else (patience.body(),)
            reply = getattr(self._handle, method).remote(*task, *body)
            try:
                return await reply
            except asyncio.CancelledError:
                reply.cancel()
                raise
            except Exception as error:
                await patience.after(error)


class _Patience:
    """How long a request may be handed from replica to replica."""

    def __init__(self, request: ModelRequest, options: ServeOptions) -> None:
        self._request = request
        seconds = min(request.deadline or options.deadline, options.deadline)
        self._due = time.monotonic() + seconds

    def body(self) -> str:
        """The request, with the time that it has left."""
        left = max(0.1, self._due - time.monotonic())
        return self._request.model_copy(update={"deadline": left}).model_dump_json()

    async def after(self, error: Exception) -> None:
        """Pauses before another attempt, where the error is that of a replica, not of the request.

        Raises:
            Exception: Where there is to be none.
        """
        if isinstance(error, BackPressureError):
            raise Problem(
                429, "all replicas are busy; try again in 2 s", {"Retry-After": "2"}
            ) from error
        if isinstance(error, RayActorError):
            if time.monotonic() + _PAUSE > self._due:
                raise TimeoutError from error
            log("replica lost", request=type(self._request).__name__)
            return await asyncio.sleep(_PAUSE)
        if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
            raise error.cause
        raise error


def build(
    named: Mapping[str, str], options: ServeOptions, replicas: int, max_replicas: int
) -> serve.Application:
    """The application: a deployment for each model, and the ingress in front.

    Args:
        named: Checkpoints by name.
        options: Limits and keys.
        replicas: Of each model, at least.
        max_replicas: And at most.
    """
    keys = options.read_api_keys()  # here, as other machines may not have the file

    def ingress() -> Any:
        configure()
        handles = {name: serve.get_deployment_handle(name, APPLICATION) for name in named}
        services = {name: RemoteService(handle, options) for name, handle in handles.items()}
        return create_app(services, options, keys)

    deployment: Any = serve.deployment
    models = [
        deployment(
            Replica,
            name=name,
            max_ongoing_requests=options.places,
            max_queued_requests=options.places,
            autoscaling_config={
                "min_replicas": replicas,
                "initial_replicas": replicas,
                "max_replicas": max_replicas,
                "target_ongoing_requests": options.slots,
            },
            graceful_shutdown_timeout_s=options.deadline,
            health_check_period_s=5,
            ray_actor_options={"num_cpus": 1},
        ).bind(name, source, options)
        for name, source in named.items()
    ]
    front = deployment(
        serve.ingress(ingress)(),
        name=INGRESS,
        # Each model's own limits hold; this one only has to be beyond them.
        max_ongoing_requests=4 * options.places * max_replicas * len(named),
        graceful_shutdown_timeout_s=options.deadline,
        ray_actor_options={"num_cpus": 0},
    )
    return front.bind(*models)


def run(
    named: Mapping[str, str],
    options: ServeOptions,
    host: str,
    port: int,
    replicas: int,
    max_replicas: int,
) -> None:
    """Serves until SIGTERM or SIGINT, on the cluster at RAY_ADDRESS or a new one on this machine.

    Args:
        named: Checkpoints by name.
        options: Limits and keys.
        host: The address to listen at.
        port: Of the ingress.
        replicas: Of each model, at least.
        max_replicas: And at most.

    Raises:
        InputError: There are to be fewer replicas at most than at least.
    """
    if max_replicas < replicas:
        raise InputError(f"--max-replicas {max_replicas}: fewer than --replicas {replicas}")
    configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ray.init(log_to_driver=False, logging_level=logging.WARNING)
    serve.start(http_options={"host": host, "port": port})
    serve.run(build(named, options, replicas, max_replicas), name=APPLICATION)
    log("serving on Ray", url=f"http://{host}:{port}", models=list(named))
    stop.wait()
    log("stopping")
    serve.shutdown()
    ray.shutdown()


__all__ = ["APPLICATION", "RemoteService", "Replica", "build", "run"]
