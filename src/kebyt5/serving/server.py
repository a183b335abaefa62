"""Running the app on a port until it is told to stop."""

import asyncio
import gc
import math
import resource
import socket
import sys
from collections.abc import Mapping, Sequence

import uvicorn
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.serving.app import create_app
from kebyt5.serving.connections import ImpatientProtocol
from kebyt5.serving.logs import configure, log
from kebyt5.serving.mounting import mount_playground
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService

_OTHER_FILES = 128
"""Open files that are no connection."""

_SWITCH_SECONDS = 0.0005


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets of an address, on which nobody listens yet.

    Args:
        host: The address.
        port: 0 for any that is free.

    Raises:
        InputError: It is taken, or cannot be had.
    """

    async def bound() -> list[socket.socket]:
        server = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, host, port, start_serving=False
        )
        sockets = [each.dup() for each in server.sockets]
        server.close()
        return sockets

    try:
        return asyncio.run(bound())
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: cannot listen there: {error}") from error


def run(
    models: Mapping[str, PreTrainedModel],
    options: ServeOptions,
    sockets: Sequence[socket.socket],
    playground: bool,
    threads: int,
) -> None:
    """Serves models until SIGTERM or SIGINT, and then finishes what is accepted.

    Args:
        models: By name.
        options: Limits and keys.
        sockets: Of the address to listen at, as `bind` gives them.
        playground: Whether to have it at `/`; it asks for no key.
        threads: PyTorch's, for the products of each model.

    Raises:
        InputError: This process may open too few files, or the file of keys cannot be used.
    """
    ImpatientProtocol.max_connections = _open_files() - _OTHER_FILES
    configure()
    # Engine and event loop take turns; at Python's 5 ms, a refusal would wait for several of them.
    sys.setswitchinterval(_SWITCH_SECONDS)
    addresses = [f"{host}:{port}" for host, port, *_ in (each.getsockname() for each in sockets)]
    log("starting", addresses=addresses, models=list(models))
    services = {name: LocalService(name, model, options, threads) for name, model in models.items()}
    app = create_app(services, options, options.read_api_keys())
    if playground:
        mount_playground(app, services)
    ImpatientProtocol.head_seconds = ImpatientProtocol.read_seconds = options.body_seconds
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(options.drain_seconds),
    )
    # What is there by now stays; looking through it for garbage would keep everybody waiting.
    gc.collect()
    gc.freeze()
    _Server(config, app.state.stopping).run(list(sockets))


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
    if most <= _OTHER_FILES:
        raise InputError(
            f"only {most} files may be open at a time, and {_OTHER_FILES} are needed besides"
            " connections; raise it with `ulimit -n 65536`"
        )
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    return most


__all__ = ["bind", "run"]
