"""Mounting the playground in the app, on all paths that have no route."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kebyt5.serving.problems import NO_SUCH_PATH, Problem, install_handlers
from kebyt5.serving.service import LocalService

_SENT_BY_THE_PAGE = ("/queue/join", "/cancel", "/reset")


def mount_playground(app: FastAPI, services: Mapping[str, LocalService]) -> None:
    """Mounts the playground at `/`; where it is not installed, `/` redirects to the documentation.

    Args:
        app: An app from `create_app`; its own routes take precedence.
        services: The services of the app, by the name of their model.
    """
    if find_spec("gradio") is None or find_spec("kebyt5.serving.playground") is None:
        app.add_api_route("/", _to_documentation, include_in_schema=False)
        return
    import gradio

    playground = import_module("kebyt5.serving.playground")
    page = playground.build(services)
    app.router.routes.append(_OtherMethods(app.routes))
    gradio.mount_gradio_app(app, page, path="/", footer_links=[], run_history=False)
    page_app = app.routes[-1].app  # type: ignore[attr-defined]
    # Each open page keeps a streaming response; without this the server would wait for it to end.
    page_app.stop_event = app.state.stopping
    install_handlers(page_app)  # it receives all unknown paths
    page_app.add_middleware(_OnlyAsking)


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
    """Passes on what the page itself sends: questions of text and numbers.

    Other requests could leave files on the disk, among them questions with an object in place of a
    text, which Gradio would take for a file to download.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            path = path.removeprefix("/gradio_api")
            is_read = scope["method"] in ("GET", "HEAD") and path != "/deep_link"
            if not (is_read or path in _SENT_BY_THE_PAGE):
                app = Problem(404, NO_SUCH_PATH).response()
            elif path == "/queue/join":
                body = await Request(scope, receive).body()
                if _has_only_values(body):
                    receive = _replayed(body, receive)
                else:
                    app = Problem(422, "the page takes texts and numbers only").response()
        await app(scope, receive, send)


def _has_only_values(body: bytes) -> bool:
    try:
        data = json.loads(body)["data"]
        return all(value is None or isinstance(value, str | int | float) for value in data)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read already, and then what follows it."""
    left = [{"type": "http.request", "body": body}]

    async def receive_again() -> Message:
        return left.pop() if left else await receive()

    return receive_again


async def _to_documentation() -> Response:
    return RedirectResponse("docs")


__all__ = ["mount_playground"]
