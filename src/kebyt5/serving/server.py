"""Running the app on a port until it is told to stop."""

import asyncio
import math
import resource
import socket
from collections.abc import Mapping

import uvicorn
from transformers import PreTrainedModel

from kebyt5.serving.app import create_app, mount_playground
from kebyt5.serving.connections import ImpatientProtocol
from kebyt5.serving.logs import configure
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService

_OTHER_FILES = 128
"""Open files that are no connection."""


def run(
    models: Mapping[str, PreTrainedModel],
    options: ServeOptions,
    host: str,
    port: int,
    playground: bool,
) -> None:
    """Serves models until SIGTERM or SIGINT, and then finishes what is accepted.

    Args:
        models: By name.
        options: Limits and keys.
        host: The address to listen at.
        port: 0 for any that is free.
        playground: Whether to have it at `/`; it asks for no key.
    """
    configure()
    services = {name: LocalService(name, model, options) for name, model in models.items()}
    app = create_app(services, options, options.read_api_keys())
    if playground:
        mount_playground(app, models)
    ImpatientProtocol.head_seconds = options.body_seconds
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=ImpatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_open_files() - _OTHER_FILES,
        timeout_graceful_shutdown=math.ceil(options.drain_seconds),
    )
    _Server(config, app.state.stopping).run()


class _Server(uvicorn.Server):
    """Ends also those responses that go on as long as a page is open.

    Args:
        config: How to serve.
        stopping: What such responses wait for.
    """

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more connections and waits for those that there are."""
        self._stopping.set()
        await super().shutdown(sockets)


def _open_files() -> int:
    """Allows this process as many open files as it may have, and says how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    return most


__all__ = ["run"]
