"""The playground's place in the app: whatever no route of the app knows."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from kebyt5.serving.problems import Problem, install_handlers
from kebyt5.serving.service import LocalService


def mount_playground(app: FastAPI, services: Mapping[str, LocalService]) -> None:
    """Puts the playground at `/` where it is installed, else what sends there to the documentation.

    Args:
        app: Of `create_app`; its routes come first.
        services: Those of the app, by name.
    """
    if find_spec("gradio") is None or find_spec("kebyt5.serving.playground") is None:
        app.add_api_route("/", _to_documentation, include_in_schema=False)
        return
    import gradio

    playground = import_module("kebyt5.serving.playground")
    page = playground.build(services)
    # Nothing on the page takes files, and what is uploaded would stay on the disk.
    app.add_api_route("/gradio_api/upload", _no_files, methods=["POST"], include_in_schema=False)
    app.router.routes.append(_OtherMethods(app.routes))
    gradio.mount_gradio_app(app, page, path="/", footer_links=[], run_history=False)
    page_app = app.routes[-1].app  # type: ignore[attr-defined]
    # Each open page has a response that lasts until then; a server waits for all responses.
    page_app.stop_event = app.state.stopping
    install_handlers(page_app)  # all paths that nobody else knows are its


class _OtherMethods(BaseRoute):
    """Refuses methods that a route does not take; the page at `/` would call the path unknown."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = list(routes)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """All that a route matches but for its method."""
        partial = any(route.matches(scope)[0] is Match.PARTIAL for route in self._routes)
        return (Match.FULL if partial else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Has that route say which methods there are."""
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.PARTIAL:
                scope.update(found)
                return await route.handle(scope, receive, send)


async def _no_files() -> None:
    raise Problem(404, "the page takes no files; paste the text")


async def _to_documentation() -> Response:
    return RedirectResponse("docs")


__all__ = ["mount_playground"]
