"""Running the app on a port until it is told to stop."""

import resource
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

_SLACK = 10
"""Seconds beyond the longest deadline after which a server that stops does not wait any more."""


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
        timeout_graceful_shutdown=int(options.deadline + options.body_seconds) + _SLACK,
    )
    uvicorn.Server(config).run()


def _open_files() -> int:
    """Allows this process as many open files as it may have, and says how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    return most


__all__ = ["run"]
