"""Middleware that every request passes: log, API key, free places, size of the body."""

import asyncio
import hashlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kebyt5.serving.logs import log
from kebyt5.serving.metrics import Metrics
from kebyt5.serving.problems import Problem, internal_problem
from kebyt5.serving.protocol import Service

CLIENT_LEFT = 499
"""The status in logs and metrics of a request whose client left before the response began."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestLog:
    """Gives a request its id, counts it, and logs it when it is over.

    An exception that reaches this point becomes a 500. Handlers may add fields to the log line
    through `scope["state"]["log"]`; a stream that fails after its head was sent has its status
    there, and its `error` if that was unexpected.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        fields: dict[str, Any] = {}
        scope.setdefault("state", {}).update(log=fields, began=time.perf_counter())
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        except Exception as error:
            fields["error"] = error
            if not status:
                await internal_problem().response()(scope, receive, sending)
            status = 500
        finally:
            self._record(scope, request_id.decode(), status)

    def _record(self, scope: Scope, request_id: str, status: int) -> None:
        """Counts and logs a request that is over; 0 is the status of one without a response."""
        fields = scope["state"]["log"]
        if failure := fields.pop("error", None):
            log("failed", logging.ERROR, failure, request_id=request_id)
        status = fields.pop("status", status)
        if fields.pop("left", False) or not status:  # before there was anything to send
            status = CLIENT_LEFT
        # Paths without a route share one label, since clients may send any number of them.
        route = getattr(scope.get("route"), "path", "") or "other"
        seconds = time.perf_counter() - scope["state"]["began"]
        self._metrics.requests.labels(route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if status < 400 and "model" in fields:
            self._metrics.bytes.labels(fields["model"], "in").inc(fields["bytes_in"])
        if scope["method"] in _METHODS:
            fields["method"] = scope["method"]
        log(
            "request",
            request_id=request_id,
            route=route,
            status=status,
            seconds=round(seconds, 4),
            **fields,
        )


class RequireKey:
    """Refuses requests to /v1 without a valid key, before reading their bodies."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            headers = dict(scope["headers"])
            scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
            given = _digest(key.strip() if scheme.lower() == b"bearer" else b"")
            # Every key is compared, in constant time, so that timing reveals nothing.
            if not sum(hmac.compare_digest(given, digest) for digest in self._digests):
                problem = Problem(
                    401,
                    "send one of the server's keys in the header 'Authorization: Bearer KEY'",
                    {"WWW-Authenticate": "Bearer"},
                )
                return await problem.response()(scope, receive, send)
        await self._app(scope, receive, send)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class RefuseWhenFull:
    """Refuses a request while all models are full, before its body is read, which may take long.

    Args:
        app: The next ASGI app.
        routes: Routes whose requests take a place, by path.
        services: Services by the name of their model.
    """

    def __init__(
        self, app: ASGIApp, routes: Mapping[str, Any], services: Mapping[str, Service]
    ) -> None:
        self._app = app
        self._routes = routes
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._routes:
            refusals = [service.refusal for service in self._services.values()]
            if refusals and refusals[0] and all(refusals):
                scope["route"] = self._routes[scope["path"]]  # for the log
                return await refusals[0].response()(scope, receive, send)
        return await self._app(scope, receive, send)


class BodyLimit:
    """Reads a body completely before the app runs; refuses one that is too large or too slow.

    Args:
        app: The next ASGI app.
        max_bytes: Largest body; a larger one is refused with 413 as soon as that is known.
        seconds: Seconds within which the body has to arrive; otherwise it is refused with 408.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            body = await self._read(scope, receive)
        except Problem as problem:
            return await problem.response()(scope, receive, send)
        if body is None:  # the client left
            return None

        return await self._app(scope, replayed(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Returns the body; None if the client left before it was complete."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:18]) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > self._max_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise Problem(
                408, f"the body did not arrive within {self._seconds:g} seconds; send it at once"
            ) from error
        return None

    def _too_large(self) -> Problem:
        return Problem(
            413,
            f"the body has more than {self._max_bytes} bytes; send less, or several requests",
        )


def replayed(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read already, and then what follows it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return left.pop() if left else await receive()

    return receive_again
