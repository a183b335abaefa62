"""Mounting the playground in the app, on all paths that have no route."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from kebyt5.serving.logs import log
from kebyt5.serving.middleware import replayed
from kebyt5.serving.problems import NO_SUCH_PATH, Problem, install_handlers
from kebyt5.serving.service import LocalService

_SENT = ("/queue/join", "/cancel", "/reset")
_READ = (
    *("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json"),
    *("/startup-events", "/queue/data"),
)
_READ_BELOW = ("/assets/", "/static/", "/heartbeat/")
"""What the page itself sends and reads. Gradio has more, such as fetching files from elsewhere."""


def mount_playground(app: FastAPI, services: Mapping[str, LocalService]) -> None:
    """Mounts the playground at `/`; where it is not installed, `/` redirects to the documentation.

    Args:
        app: An app from `create_app`; its own routes take precedence.
        services: The services of the app, by the name of their model.
    """
    if find_spec("gradio") is None:
        app.add_api_route("/", _to_documentation, include_in_schema=False)
        return
    import gradio

    from kebyt5.serving.playground import build

    page = build(services)
    app.router.routes.append(_OtherMethods(app.routes))
    gradio.mount_gradio_app(app, page, path="/", footer_links=[], run_history=False)
    page_app = app.routes[-1].app  # type: ignore[attr-defined]
    # Each open page keeps a streaming response; without this the server would wait for it to end.
    page_app.stop_event = app.state.stopping
    install_handlers(page_app)  # it receives all unknown paths
    page_app.add_middleware(_OnlyAsking, page)
    queueing: Any = import_module("gradio.queueing")
    # Messages of exceptions quote what users wrote.
    queueing.traceback = SimpleNamespace(print_exc=_log_exception)


class _OtherMethods(BaseRoute):
    """Refuses methods that a route does not accept; the page at `/` would call the path unknown."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = list(routes)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Matches requests that fit the path of a route, but not its methods."""
        partial = any(route.matches(scope)[0] is Match.PARTIAL for route in self._routes)
        return (Match.FULL if partial else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets that route answer, which names the methods it accepts."""
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.PARTIAL:
                scope.update(found)
                return await route.handle(scope, receive, send)


class _OnlyAsking:
    """Passes on what the page itself reads and sends: questions of text and numbers.

    Other requests could leave files on the disk or fetch them from other servers, among them
    questions with an object in place of a text, which Gradio would take for a file to download.
    """

    def __init__(self, app: ASGIApp, page: Any) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            path = path.removeprefix("/gradio_api")
            is_read = scope["method"] in ("GET", "HEAD") and (
                path in _READ or path.startswith(_READ_BELOW)
            )
            if not (is_read or (scope["method"] == "POST" and path in _SENT)):
                app = Problem(404, NO_SUCH_PATH).response()
            elif path == "/queue/data" and not self._knows_session(scope):
                app = Problem(404, "there is no such session; load the page again").response()
            elif path == "/queue/join":
                body = await Request(scope, receive).body()
                if self._is_question(body):
                    receive = replayed(body, receive)
                else:
                    app = Problem(422, "the page takes texts and numbers only").response()
        await app(scope, receive, send)

    def _knows_session(self, scope: Scope) -> bool:
        session = Request(scope).query_params.get("session_hash")
        return session in self._page._queue.pending_messages_per_session

    def _is_question(self, body: bytes) -> bool:
        """Whether a body has a value for each input of one of the page's functions."""
        try:
            content = json.loads(body)
            data, inputs = content["data"], self._page.fns[content["fn_index"]].inputs
            return len(data) == len(inputs) and all(
                value is None or isinstance(value, str | int | float) for value in data
            )
        except (ValueError, LookupError, TypeError, RecursionError):
            return False


def _log_exception() -> None:
    log("page failed", logging.ERROR, sys.exception())


async def _to_documentation() -> Response:
    return RedirectResponse("docs")
