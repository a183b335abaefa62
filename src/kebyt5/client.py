r"""A typed client of `kebyt5 serve`, blocking or asynchronous.

Requests and responses use the server's own models, so a malformed request is refused before it is
sent.

Example:
    >>> with Client("http://localhost:8000") as client:
    ...     client.generate(GenerateRequest(input="가나다", max_new_bytes=30)).results[0].text
    ...     client.answer("ner", {"sentence": "김하늘 씨는 서울에 산다."}).results[0].entities
"""

import json
import time
from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from kebyt5.errors import InputError
from kebyt5.serving.schemas import (
    ConstraintSpec,
    EmbedRequest,
    EmbedResponse,
    FillRequest,
    FillResponse,
    GenerateRequest,
    GenerateResponse,
    ModelsResponse,
    ScoreRequest,
    ScoreResponse,
    TextEnd,
    TextPiece,
)
from kebyt5.serving.tasks import REQUESTS, RESPONSES, TaskResponse
from kebyt5.tasks import get_task

AnyResponse = TypeVar("AnyResponse", bound=BaseModel)
Event = TextPiece | TextEnd

_BUSY, _UNAVAILABLE = 429, 503
_BAD_GATEWAY = 502
"""Status of answers that are cut off or cannot be read; another server may stand between."""
_GRACE = 15.0
"""Seconds that an answer may take beyond its request's deadline."""
_MIN_WAIT = 0.1
"""Minimum seconds before a retry, whatever a proxy says."""
_EVENTS: dict[bytes, type[TextPiece] | type[TextEnd]] = {b"text": TextPiece, b"end": TextEnd}


class ServerError(Exception):
    """A server refused a request, or failed to answer it.

    Attributes:
        status: Status code of the HTTP response.
        detail: What is wrong and what to do.
        problem: The whole problem document (RFC 9457).
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.detail = str(problem.get("detail", ""))
        self.problem = dict(problem)
        super().__init__(f"{status}: {self.detail}")


class Client:
    """A blocking client; use it as a context manager, or call `close`.

    Args:
        url: Base URL of the server.
        api_key: API key, where the server requires one.
        timeout: Seconds to wait for a response.
        patience: Seconds to keep retrying while the server is too busy (429), or has too
            many connections (503 with Retry-After).

    Raises:
        ServerError: From every method, when the server refuses the request or fails.
        httpx2.TransportError: From every method, when the server cannot be reached.
    """

    def __init__(
        self, url: str, api_key: str | None = None, timeout: float = 120.0, patience: float = 60.0
    ) -> None:
        self._http = httpx2.Client(base_url=url, headers=_headers(api_key), timeout=timeout)
        self._patience = patience

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def models(self) -> ModelsResponse:
        """Lists the served models."""
        return _read(self._http.get("/v1/models"), ModelsResponse)

    def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""
        body = request.model_copy(update={"stream": False})
        return self._post("/v1/generate", body, GenerateResponse)

    def stream(self, request: GenerateRequest) -> Generator[Event]:
        """Yields the texts piece by piece as they are generated; closing it frees their slots."""
        body = request.model_copy(update={"stream": True})
        with self._asked("/v1/generate", body) as response:
            events = _Events(len(request.inputs))
            for piece in response.iter_bytes():
                yield from events.feed(piece)
            events.require_end()

    def answer(self, task: str, input: Any, **options: Any) -> TaskResponse:
        """Answers one input of a task, or a list of them.

        Args:
            task: Name of the task.
            input: A mapping of the input's fields, or a list of such mappings.
            **options: Other fields of the request, such as `model`.

        Returns:
            A response of `kebyt5.serving.tasks.RESPONSES[task]`.
        """
        return self._post(*_task_call(task, input, options))

    def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""
        return self._post("/v1/fill", request, FillResponse)

    def score(self, request: ScoreRequest) -> ScoreResponse:
        """Scores candidate outputs by their likelihood."""
        return self._post("/v1/score", request, ScoreResponse)

    def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Embeds texts as vectors."""
        return self._post("/v1/embed", request, EmbedResponse)

    def _post(self, path: str, request: BaseModel, kind: type[AnyResponse]) -> AnyResponse:
        with self._asked(path, request) as response:
            return _parsed(kind, response.read())

    @contextmanager
    def _asked(self, path: str, request: BaseModel) -> Iterator[httpx2.Response]:
        """Yields a successful response of which only the head has been read."""
        give_up = time.monotonic() + self._patience
        while True:
            timeout = _timeout(self._http.timeout, request)
            with self._http.stream("POST", path, json=_body(request), timeout=timeout) as response:
                wait = _retry_after(response, give_up)
                if wait is None:
                    if response.status_code != 200:
                        response.read()
                        raise _error(response)
                    yield response
                    return
            time.sleep(wait)


class AsyncClient:
    """The asynchronous `Client`; cancelling a call makes the server stop working on it.

    Args:
        url: Base URL of the server.
        api_key: API key, where the server requires one.
        timeout: Seconds to wait for a response.
        patience: Seconds to keep retrying while the server is too busy (429), or has too
            many connections (503 with Retry-After).
        connections: Largest number of simultaneous connections.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout: float = 120.0,
        patience: float = 60.0,
        connections: int = 100,
    ) -> None:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx2.AsyncClient(
            base_url=url, headers=_headers(api_key), timeout=timeout, limits=limits
        )
        self._patience = patience

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def models(self) -> ModelsResponse:
        """Lists the served models."""
        return _read(await self._http.get("/v1/models"), ModelsResponse)

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""
        body = request.model_copy(update={"stream": False})
        return await self._post("/v1/generate", body, GenerateResponse)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Yields the texts piece by piece as they are generated; closing it frees their slots."""
        body = request.model_copy(update={"stream": True})
        async with self._asked("/v1/generate", body) as response:
            events = _Events(len(request.inputs))
            async for piece in response.aiter_bytes():
                for event in events.feed(piece):
                    yield event
            events.require_end()

    async def answer(self, task: str, input: Any, **options: Any) -> TaskResponse:
        """Answers one input of a task, or a list of them; see `Client.answer`."""
        return await self._post(*_task_call(task, input, options))

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""
        return await self._post("/v1/fill", request, FillResponse)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Scores candidate outputs by their likelihood."""
        return await self._post("/v1/score", request, ScoreResponse)

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Embeds texts as vectors."""
        return await self._post("/v1/embed", request, EmbedResponse)

    async def _post(self, path: str, request: BaseModel, kind: type[AnyResponse]) -> AnyResponse:
        async with self._asked(path, request) as response:
            return _parsed(kind, await response.aread())

    @asynccontextmanager
    async def _asked(self, path: str, request: BaseModel) -> AsyncIterator[httpx2.Response]:
        """Yields a successful response of which only the head has been read."""
        give_up = time.monotonic() + self._patience
        while True:
            timeout = _timeout(self._http.timeout, request)
            async with self._http.stream(
                "POST", path, json=_body(request), timeout=timeout
            ) as response:
                wait = _retry_after(response, give_up)
                if wait is None:
                    if response.status_code != 200:
                        await response.aread()
                        raise _error(response)
                    yield response
                    return
            await sleep(wait)


class _Events:
    """Parses server-sent events from the bytes of a response.

    Args:
        texts: Number of texts of the stream.
    """

    def __init__(self, texts: int) -> None:
        self._name = self._rest = b""
        self._open = texts

    def feed(self, piece: bytes) -> Iterator[Event]:
        # Not `splitlines`, which would also split at U+2028 and the like; JSON may contain them.
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            field, _, value = line.partition(b": ")
            if field == b"event":
                self._name = value
            elif field == b"data" and self._name == b"error":
                problem = json.loads(value)
                raise ServerError(problem["status"], problem)
            elif field == b"data":
                event = _parsed(_EVENTS[self._name], value)
                self._open -= isinstance(event, TextEnd)
                yield event

    def require_end(self) -> None:
        """Raises `ServerError` if the stream ended before its texts did."""
        if self._open:
            problem = {"detail": f"the stream ended before {self._open} of its texts did"}
            raise ServerError(_BAD_GATEWAY, problem)


def _task_call(
    task: str, input: Any, options: Mapping[str, Any]
) -> tuple[str, BaseModel, type[TaskResponse]]:
    name = get_task(task).name
    request = REQUESTS[name].model_validate({"input": input, **options})
    return f"/v1/tasks/{name}", request, RESPONSES[name]


def _headers(api_key: str | None) -> dict[str, str]:
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise InputError("api_key: contains characters that no key has; copy the server's key")
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _timeout(usual: httpx2.Timeout, request: BaseModel) -> httpx2.Timeout:
    """Waits at least as long as the request gives the server."""
    deadline = getattr(request, "deadline", None)
    if deadline is None or usual.read is None:
        return usual
    read = max(usual.read, deadline + _GRACE)
    return httpx2.Timeout(connect=usual.connect, read=read, write=usual.write, pool=usual.pool)


def _body(request: BaseModel) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude_unset=True)


def _retry_after(response: httpx2.Response, give_up: float) -> float | None:
    """Returns the seconds to wait before retrying; None if there is no need to, or no time."""
    is_full = response.status_code == _UNAVAILABLE and "retry-after" in response.headers
    if response.status_code != _BUSY and not is_full:
        return None
    try:
        wait = float(response.headers.get("retry-after", 1))
    except ValueError:  # a proxy answered, which may give a date
        wait = 1.0
    wait = max(wait, _MIN_WAIT)
    return wait if time.monotonic() + wait <= give_up else None


def _read(response: httpx2.Response, kind: type[AnyResponse]) -> AnyResponse:
    if response.status_code != 200:
        raise _error(response)
    return _parsed(kind, response.content)


def _parsed(kind: type[AnyResponse], content: str | bytes) -> AnyResponse:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = f"the answer is not one that this version of kebyt5 reads: {error}"
        raise ServerError(_BAD_GATEWAY, {"detail": problem}) from error


def _error(response: httpx2.Response) -> ServerError:
    try:
        problem = response.json()
    except ValueError:  # a proxy answered
        problem = {"detail": response.text[:200]}
    return ServerError(response.status_code, problem if isinstance(problem, dict) else {})


__all__ = [
    "AsyncClient",
    "Client",
    "ConstraintSpec",
    "EmbedRequest",
    "EmbedResponse",
    "Event",
    "FillRequest",
    "FillResponse",
    "GenerateRequest",
    "GenerateResponse",
    "ModelsResponse",
    "ScoreRequest",
    "ScoreResponse",
    "ServerError",
    "TaskResponse",
    "TextEnd",
    "TextPiece",
]
