"""Running the app on a port until it is told to stop."""

import asyncio
import gc
import math
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import uvicorn
from starlette.datastructures import State
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.serving.app import create_app
from kebyt5.serving.connections import TimeoutProtocol
from kebyt5.serving.logs import log
from kebyt5.serving.mounting import mount_playground
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService

_OTHER_FILES = 128
"""Open files that are not connections."""

_SWITCH_SECONDS = 0.0005


def bind(host: str, port: int) -> list[socket.socket]:
    """Binds sockets to an address without listening yet.

    Args:
        host: Address to bind to.
        port: Port to bind to; 0 for any free one.

    Raises:
        InputError: The address is in use or not available.
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
    *,
    playground: bool,
    threads: int,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves models until SIGTERM or SIGINT, and then finishes the accepted requests.

    Args:
        models: Models by name.
        options: Limits and keys.
        sockets: Sockets to listen on, from `bind`.
        playground: Whether to mount the playground at `/`; it does not ask for a key.
        threads: Number of PyTorch threads that each model computes with.
        on_ready: Function to call once requests are answered.

    Raises:
        InputError: This process may open too few files, or the file of keys is invalid.
    """
    connections = _open_files() - _OTHER_FILES
    # The engine and the event loop compete for the GIL; at the default of 5 ms per turn, a refusal
    # would wait for several turns.
    sys.setswitchinterval(_SWITCH_SECONDS)
    addresses = [f"{host}:{port}" for host, port, *_ in (each.getsockname() for each in sockets)]
    log("starting", addresses=addresses, models=list(models))
    services = {name: LocalService(name, model, options, threads) for name, model in models.items()}
    app = create_app(services, options, options.read_api_keys())
    if playground:
        mount_playground(app, services)
    config = uvicorn.Config(
        app,
        http=partial(  # type: ignore[arg-type]
            TimeoutProtocol, seconds=options.body_seconds, max_connections=connections
        ),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(options.drain_seconds),
    )
    # Objects made so far are permanent; scanning them for garbage would delay all requests.
    gc.collect()
    gc.freeze()
    _Server(config, app.state, options.lame_duck_seconds, on_ready).run(list(sockets))


class _Server(uvicorn.Server):
    """A server whose shutdown is announced, and ends responses that last as long as a page is open.

    Args:
        config: Configuration of Uvicorn.
        state: State of the app: whether it `is_ready`, and the event `stopping`, for which such
            responses wait.
        lame_duck_seconds: Seconds between the announcement of the shutdown and the shutdown.
        on_ready: Function to call once requests are answered.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: State,
        lame_duck_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._state = state
        self._lame_duck_seconds = lame_duck_seconds
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the app and accepts connections."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops accepting connections, after a while, and waits for the open ones."""
        self._state.is_ready = False
        end = time.monotonic() + self._lame_duck_seconds
        while time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.1)
        self._state.stopping.set()
        await super().shutdown(sockets)


def _open_files() -> int:
    """Raises this process's limit of open files as far as allowed, and returns it."""
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
