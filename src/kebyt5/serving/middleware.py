"""What every request passes before the app sees it: its log line, its key, its place, its size."""

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
"""The status in logs and metrics where there is nobody to send one to."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestLog:
    """Gives a request its id, counts it, and writes a line about it when it is over.

    An exception that comes this far becomes a 500. Handlers may add to `scope["state"]["log"]`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        fields: dict[str, Any] = {}
        scope.setdefault("state", {}).update(log=fields, began=began)
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
            log("failed", logging.ERROR, error, request_id=request_id.decode())
            if not status:
                await internal_problem().response()(scope, receive, sending)
            status = 500
        finally:
            if fields.pop("left", False) or not status:  # before there was anything to send
                status = CLIENT_LEFT
            # Paths that are no route may be anything.
            route = getattr(scope.get("route"), "path", "") or "other"
            seconds = time.perf_counter() - began
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if scope["method"] in _METHODS:
                fields["method"] = scope["method"]
            log(
                "request",
                request_id=request_id.decode(),
                route=route,
                status=status,
                seconds=round(seconds, 4),
                **fields,
            )


class RequireKey:
    """Refuses requests to /v1 without one of the keys, before reading them."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            headers = dict(scope["headers"])
            scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
            given = _digest(key.strip() if scheme.lower() == b"bearer" else b"")
            # Each is compared, in constant time, so that the time tells nothing.
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
    """Refuses what no model has a place for before it is read, which may take longer than that.

    Args:
        app: What comes behind.
        routes: By path, those that take a place.
        services: Which have places.
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
    """Hands on whole bodies; refuses those that are too long, as soon as that is known, or late."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            body: bytes | None = await self._read(scope, receive)
        except Problem as problem:
            return await problem.response()(scope, receive, send)
        if body is None:  # nobody is there any more
            return None

        async def replay() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        return await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None where the client left instead."""
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
            413, f"a body of more than {self._max_bytes} bytes; send less, or several requests"
        )


__all__ = ["CLIENT_LEFT", "BodyLimit", "RefuseWhenFull", "RequestLog", "RequireKey"]
