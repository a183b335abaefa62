"""The app on Ray Serve: an ingress, and replicas of each model that scale with the load.

The ingress reads and validates requests and passes them to a replica. When a replica dies, the
ingress passes its requests to another one. A text depends only on its request, so even a stream
that is half sent continues where it stopped.
"""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import ray
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError

from kebyt5.serving.app import create_app
from kebyt5.serving.logs import configure, log
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem
from kebyt5.serving.protocol import Event
from kebyt5.serving.replica import Replica
from kebyt5.serving.schemas import (
    MAX_SECONDS,
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
from kebyt5.serving.tasks import RESPONSES, TaskRequest, TaskResponse

APPLICATION = "kebyt5"
"""Ray application of the ingress; those of the models append the model's name."""

_PAUSE = 0.2
"""Seconds before a request is passed to another replica."""

_GRACE = 5.0
"""Seconds after the deadline within which a replica has to report that it has passed."""

T = TypeVar("T")
AnyResponse = TypeVar("AnyResponse", bound=BaseModel)


class RemoteService:
    """A `Service` that calls replicas through a Ray Serve handle.

    Args:
        handle: Handle of the deployment of `Replica`.
        options: Limits of the server.
    """

    is_alive = True  # Ray checks the health of its replicas
    refusal = None  # each replica counts its own places

    def __init__(self, handle: Any, options: ServeOptions) -> None:
        self._handle = handle
        self._options = options

    async def info(self) -> ModelInfo:
        """Describes the model."""
        attempts = _Attempts(ModelRequest(), self._options)
        return ModelInfo.model_validate_json(await attempts.make(self._handle.info.remote))

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""
        return await self._request("generate", request, GenerateResponse)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Yields None once the request is accepted, then the texts piece by piece."""
        attempts = _Attempts(request, self._options)
        sent = [0] * len(request.inputs)
        ended: set[int] = set()
        is_told = False
        while True:
            seen = [0] * len(request.inputs)
            replies: Any = self._handle.options(stream=True).stream.remote(attempts.body())
            try:
                while reply := await attempts.wait(anext(replies, None)):
                    kind, content = reply
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
                    elif not is_told:
                        attempts.is_accepted = is_told = True
                        yield None
                return
            except (asyncio.CancelledError, GeneratorExit, TimeoutError):
                replies.cancel()
                raise
            except Exception as error:
                await attempts.retry_or_raise(error)

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task."""
        return await self._request("answer", request, RESPONSES[task], task)

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""
        return await self._request("fill", request, FillResponse)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Scores candidate outputs by their likelihood."""
        return await self._request("score", request, ScoreResponse)

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Embeds texts as vectors."""
        return await self._request("embed", request, EmbedResponse)

    async def _request(
        self, method: str, request: ModelRequest, kind: type[AnyResponse], *task: str
    ) -> AnyResponse:
        attempts = _Attempts(request, self._options)

        def call() -> Any:
            return self._handle.call.remote(method, attempts.body(), *task)

        return kind.model_validate_json(await attempts.make(call))


class _Attempts:
    """The deadline of a request, and what to do about errors of replicas until then.

    Attributes:
        is_accepted: Whether a replica has accepted the request, which is not refused any more then.
    """

    def __init__(self, request: ModelRequest, options: ServeOptions) -> None:
        self._request = request
        self.is_accepted = False
        self._due = time.monotonic() + options.seconds_for(request.deadline)

    def body(self) -> str:
        """Encodes the request as JSON, with the remaining time as its deadline.

        Raises:
            Problem: It cannot be written as JSON.
        """
        # A request may ask for at most MAX_SECONDS, though the server's own limit may be more.
        left = min(MAX_SECONDS, max(0.1, self._due - time.monotonic()))
        try:
            return self._request.model_copy(update={"deadline": left}).model_dump_json()
        except PydanticSerializationError as error:
            raise Problem(
                422,
                "the schema has a lone surrogate or is nested too deeply; fix it, or flatten it",
            ) from error

    async def make(self, call: Callable[[], Any]) -> str:
        """Calls a replica, and another one if it dies, until one replies.

        Raises:
            Problem: A replica replied with a problem, or all are busy.
            TimeoutError: There was no reply in time.
        """
        while True:
            reply = call()
            try:
                return await self.wait(reply)
            except (asyncio.CancelledError, TimeoutError):
                reply.cancel()
                raise
            except Exception as error:
                await self.retry_or_raise(error)

    async def wait(self, reply: Awaitable[T | Problem]) -> T:
        """Waits for the reply of a replica.

        Raises:
            Problem: The replica replied with a problem.
            TimeoutError: The replica did not reply in time, or no replica had room.
        """
        async with asyncio.timeout(self._due + _GRACE - time.monotonic()):
            said = await reply
        if isinstance(said, Problem):
            raise said
        return said

    async def retry_or_raise(self, error: Exception) -> None:
        """Pauses before another attempt if a replica died; raises any other error.

        Once the request was accepted, it also waits for replicas that are busy.

        Raises:
            Problem: All replicas are busy.
            TimeoutError: A replica died, and there is no time for another attempt.
            Exception: Any other error, unwrapped from Ray's.
        """
        is_busy = isinstance(error, BackPressureError) or (
            isinstance(error, Problem) and error.status == 429
        )
        is_lost = isinstance(error, RayActorError)
        self.is_accepted |= is_lost  # by the replica that died, as far as anybody knows
        if is_lost or (is_busy and self.is_accepted):
            if time.monotonic() + _PAUSE > self._due:
                raise TimeoutError from error
            if is_lost:
                log("replica lost", request=type(self._request).__name__)
            return await asyncio.sleep(_PAUSE)
        if isinstance(error, BackPressureError):
            raise Problem(
                429, "all replicas are busy; try again in 2 s", {"Retry-After": "2"}
            ) from error
        if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
            raise error.cause
        raise error


def deploy(
    named: Mapping[str, str], options: ServeOptions, replicas: int, max_replicas: int, cores: int
) -> None:
    """Begins to serve on the cluster that this process is connected to.

    Each model is a Ray application, and so is the ingress in front of them: all deployments of one
    application end together, but the ingress needs the models until it has answered what it has
    accepted.

    Args:
        named: Checkpoints by name.
        options: Limits and keys.
        replicas: Smallest number of replicas of each model.
        max_replicas: Largest number of replicas of each model.
        cores: Cores that each replica reserves and computes with.
    """
    keys = options.read_api_keys()  # read here, since other machines may not have the file

    def ingress() -> Any:
        configure()
        handles = {name: serve.get_deployment_handle(name, _application(name)) for name in named}
        services = {name: RemoteService(handle, options) for name, handle in handles.items()}
        return create_app(services, options, keys)

    deployment: Any = serve.deployment
    for name, source in named.items():
        model = deployment(
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
            graceful_shutdown_timeout_s=options.drain_seconds,
            health_check_period_s=5,
            ray_actor_options={"num_cpus": cores},
        )
        bound = model.bind(name, source, options, cores)
        serve.run(bound, name=_application(name), route_prefix=None)
    front = deployment(
        serve.ingress(ingress)(),
        name="ingress",
        # The models enforce their own limits; this one only has to be larger.
        max_ongoing_requests=4 * options.places * max_replicas * len(named),
        graceful_shutdown_timeout_s=options.drain_seconds,
        ray_actor_options={"num_cpus": 0},
    )
    serve.run(front.bind(), name=APPLICATION)


def withdraw(named: Mapping[str, str]) -> None:
    """Ends what `deploy` began, once all accepted requests are answered.

    Other applications on the cluster are left alone.

    Args:
        named: Checkpoints by name.
    """
    for application in (APPLICATION, *map(_application, named)):
        is_gone = False
        while not is_gone:  # `delete` gives up after a minute, though Ray goes on ending replicas
            with suppress(TimeoutError):
                serve.delete(application)
                is_gone = True


def _application(model: str) -> str:
    return f"{APPLICATION}-{model}"


def run(
    named: Mapping[str, str],
    options: ServeOptions,
    host: str,
    port: int,
    replicas: int,
    max_replicas: int,
    cores: int,
) -> None:
    """Serves until SIGTERM or SIGINT, on the cluster at RAY_ADDRESS or a new one on this machine.

    Args:
        named: Checkpoints by name.
        options: Limits and keys.
        host: Address to listen on.
        port: Port of the ingress, on each machine of the cluster; not 0.
        replicas: Smallest number of replicas of each model.
        max_replicas: Largest number of replicas of each model.
        cores: Cores of each replica.
    """
    stop = threading.Event()
    ray.init(log_to_driver=False, logging_level=logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):  # after `ray.init`, which sets its own handlers
        signal.signal(number, lambda *_: stop.set())
    serve.start(http_options={"host": host, "port": port})
    deploy(named, options, replicas, max_replicas, cores)
    log("serving on Ray", url=f"http://{host}:{port}", models=list(named))
    stop.wait()
    log("stopping")
    withdraw(named)
    ray.shutdown()  # stops Ray if it was started here; otherwise only disconnects
