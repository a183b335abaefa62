"""The HTTP interface: the app, its routes and its middleware."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

import kebyt5
from kebyt5.errors import InputError
from kebyt5.serving.metrics import Metrics
from kebyt5.serving.middleware import BodyLimit, RefuseWhenFull, RequestLog, RequireKey
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import (
    MEDIA_TYPE,
    Problem,
    ProblemDetails,
    install_handlers,
    problem_of,
)
from kebyt5.serving.protocol import Event, Service
from kebyt5.serving.schemas import (
    EmbedRequest,
    EmbedResponse,
    FillRequest,
    FillResponse,
    GenerateRequest,
    GenerateResponse,
    Health,
    Message,
    ModelRequest,
    ModelsResponse,
    ScoreRequest,
    ScoreResponse,
    TaskInfo,
    TasksResponse,
    TextEnd,
    TextPiece,
)
from kebyt5.serving.service import LocalService
from kebyt5.serving.tasks import REQUESTS, RESPONSES
from kebyt5.tasks import TASKS, get_task

T = TypeVar("T")

_REFUSALS = {
    400: "The body is not valid JSON.",
    401: "The API key is missing or wrong.",
    404: "There is no such model.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    422: "The request is invalid; the detail says what to change.",
    429: "The server is busy; Retry-After says when to try again.",
    500: "The server failed.",
    501: "The server lacks a package that this request needs.",
    503: "The server is starting or about to stop, or has too many connections.",
    504: "The request was not done within its deadline.",
}
_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers of streams, which a proxy such as nginx would otherwise collect."""

_STREAM = """The texts as they grow, if `stream` is true: events `text` and `end`, each with the \
`index` of its input, or one event `error` with a problem."""


def create_app(
    services: Mapping[str, Service], options: ServeOptions, keys: Sequence[str] = ()
) -> FastAPI:
    """Creates the app that serves some models.

    Args:
        services: Services by the name of their model. The first one answers requests that name no
            model. Local services are started and stopped with the app.
        options: Limits of the server.
        keys: API keys, one of which every request to /v1 has to send; empty for no keys.
    """
    app = FastAPI(
        title="kebyt5",
        version=kebyt5.__version__,
        description="Korean byte-level language models: generation, tasks, likelihoods, vectors.",
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,  # an unknown path is refused, not redirected
    )
    app.state.services = dict(services)
    app.state.is_ready = False
    app.state.stopping = asyncio.Event()
    app.state.metrics = metrics = Metrics(services)
    install_handlers(app)
    # Middleware that is added last runs first.
    app.add_middleware(BodyLimit, options.max_body_bytes, options.body_seconds)
    posts = (each for each in _models.routes if isinstance(each, APIRoute))
    routes = {each.path: each for each in posts if "POST" in (each.methods or ())}
    app.add_middleware(RefuseWhenFull, routes, services)
    if keys:
        app.add_middleware(RequireKey, keys)
    app.add_middleware(RequestLog, metrics)
    app.include_router(_probes)
    app.include_router(
        _models,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if keys else [],
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    local = [each for each in app.state.services.values() if isinstance(each, LocalService)]
    for service in local:
        await asyncio.to_thread(service.start)
    app.state.is_ready = True
    yield
    app.state.is_ready = False
    for service in local:
        await service.stop()


_Problems = dict[int | str, dict[str, Any]]


def _problems(*statuses: int) -> _Problems:
    return {
        status: {
            "description": _REFUSALS[status],
            "content": {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}},
        }
        for status in statuses
    }


_probes = APIRouter(tags=["operation"])


@_probes.get("/healthz", responses=_problems(503))
async def healthz(request: Request) -> Health:
    """Check that the process works; if it does not, restart it."""
    for name, service in request.app.state.services.items():
        if not service.is_alive:
            raise Problem(503, f"the engine of {name} has stopped or hangs; restart the server")
    return Health(status="ok")


@_probes.get("/readyz", responses=_problems(503))
async def readyz(request: Request) -> Health:
    """Check whether to send requests here.

    The server is ready from the time everything is loaded until it begins to stop.
    """
    if not request.app.state.is_ready:
        raise Problem(503, "starting or stopping; send requests elsewhere")
    return await healthz(request)


@_probes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Report metrics in the format of Prometheus."""
    content = generate_latest(request.app.state.metrics.registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


_models = APIRouter(prefix="/v1", tags=["models"])
_ALL = _problems(*_REFUSALS)


@_models.get("/models", responses=_problems(401))
async def models(request: Request) -> ModelsResponse:
    """List the served models."""
    services: Mapping[str, Service] = request.app.state.services
    return ModelsResponse(models=[await service.info() for service in services.values()])


@_models.get("/tasks", responses=_problems(401))
async def tasks(request: Request) -> TasksResponse:
    """List the tasks of /v1/tasks/{task}."""
    return TasksResponse(
        tasks=[
            TaskInfo(name=name, title=task.title, labels=list(task.labels))
            for name, task in TASKS.items()
        ]
    )


@_models.post(
    "/generate",
    response_model=GenerateResponse,
    responses=_ALL | {200: {"description": _STREAM, "content": {"text/event-stream": {}}}},
)
async def generate(request: Request, body: GenerateRequest) -> Any:
    """Generate a text for each input."""
    service = _service(request, body, body.inputs)
    if not body.stream:
        response = await _while_connected(request, service.generate(body))
        return _note(request, response, [each.text for each in response.results])
    events = service.stream(body)
    try:
        await _while_connected(request, anext(events))  # accepted, or refused with a status
    except BaseException:
        await events.aclose()
        raise
    return _EventStream(_sent(request, events), headers=_UNBUFFERED, media_type="text/event-stream")


@_models.post("/fill", responses=_ALL)
async def fill(request: Request, body: FillRequest) -> FillResponse:
    """Fill the blanks of a text, the likeliest filling first."""
    response = await _while_connected(request, _service(request, body, [body.text]).fill(body))
    return _note(request, response, [each.text for each in response.fillings])


@_models.post("/score", responses=_ALL)
async def score(request: Request, body: ScoreRequest) -> ScoreResponse:
    """Compute the likelihood of each candidate output."""
    service = _service(request, body, [body.input])
    return _note(request, await _while_connected(request, service.score(body)), [])


@_models.post("/embed", responses=_ALL)
async def embed(request: Request, body: EmbedRequest) -> EmbedResponse:
    """Represent each text by a vector."""
    service = _service(request, body, body.inputs)
    return _note(request, await _while_connected(request, service.embed(body)), [])


def _add_task(task: str) -> None:
    async def answer(request: Request, body: Any) -> Any:
        service = _service(request, body, _texts(body.model_dump()["input"]))
        response = await _while_connected(request, service.answer(task, body))
        return _note(request, response, [each.text for each in response.results])

    answer.__annotations__["body"] = REQUESTS[task]
    _models.add_api_route(
        f"/tasks/{task}",
        answer,
        methods=["POST"],
        name=f"answer_{task}",
        summary=TASKS[task].title,
        tags=["tasks"],
        response_model=RESPONSES[task],
        responses=_ALL,
    )


for _task in REQUESTS:
    _add_task(_task)


@_models.post("/tasks/{task}", include_in_schema=False)
async def unknown_task(task: str) -> None:
    """Refuses an unknown task and names the known ones."""
    try:
        get_task(task)
    except InputError as error:
        raise Problem(404, str(error)) from error


def _service(request: Request, body: ModelRequest, inputs: Sequence[str]) -> Service:
    """Returns the service of the model that a request is for, and counts the request's bytes."""
    services: Mapping[str, Service] = request.app.state.services
    name = body.model or next(iter(services))
    if name not in services:
        raise Problem(404, f"there is no model of this name; served are {', '.join(services)}")
    request.state.log["model"] = name
    _count(request, "in", inputs)
    return services[name]


def _note(request: Request, response: T, texts: Sequence[str]) -> T:
    """Counts the bytes of the texts in a response, and returns the response."""
    _count(request, "out", texts)
    return response


def _texts(value: Any) -> list[str]:
    """Collects all texts in an input, however it is nested."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [text for part in parts for text in _texts(part)]


def _count(request: Request, direction: str, texts: Sequence[str]) -> None:
    log, name = request.state.log, f"bytes_{direction}"
    size = sum(len(text.encode()) for text in texts)
    log[name] = log.get(name, 0) + size
    if direction == "out":  # those that come in count once they are answered
        request.app.state.metrics.bytes.labels(log["model"], direction).inc(size)


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """Awaits some work, and cancels it if the client disconnects."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        request.state.log["left"] = True
        raise Problem(503, "the client left")  # nobody is left to read this
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await working


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _EventStream(StreamingResponse):
    """A response of server-sent events that closes its source however it ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert isinstance(self.body_iterator, AsyncGenerator)
        async with aclosing(self.body_iterator):
            await super().__call__(scope, receive, send)


async def _sent(request: Request, events: AsyncGenerator[Event]) -> AsyncGenerator[str]:
    """Formats events as server-sent events, and counts them."""
    is_over = False
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextPiece):
                    _first_text(request)
                    _count(request, "out", [event.text])
                    yield _server_sent("text", event)
                elif isinstance(event, TextEnd):
                    yield _server_sent("end", event)
        is_over = True
    except Exception as error:
        is_over = True
        problem = problem_of(error)
        request.state.log["status"] = problem.status
        if problem.status == 500:
            request.state.log["error"] = error
        yield f"event: error\ndata: {problem.body().decode()}\n\n"
    finally:
        request.state.log["left"] = not is_over


def _server_sent(name: str, message: Message) -> str:
    return f"event: {name}\ndata: {message.model_dump_json()}\n\n"


def _first_text(request: Request) -> None:
    log = request.state.log
    if "first_text_seconds" not in log:
        seconds = time.perf_counter() - request.state.began
        log["first_text_seconds"] = round(seconds, 4)
        request.app.state.metrics.first_text_seconds.labels(log["model"]).observe(seconds)


__all__ = ["create_app"]
