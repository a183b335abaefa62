"""`kebyt5 playground`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import Port

from kebyt5.allocator import limit_kernel_caches
from kebyt5.cli.extras import require_extra
from kebyt5.errors import InputError

_DEADLINE = 3600.0
"""Seconds that an answer may take; long enough that people close the page earlier."""


def playground(
    *checkpoints: Annotated[str, Parameter(negative="")],
    host: str = "127.0.0.1",
    port: Port = 7860,
) -> None:
    r"""Open a web page for asking checkpoints and seeing what they do.

    ```bash
    kebyt5 playground
    kebyt5 playground runs/ner mrc=runs/mrc-lora --port 8000
    ```

    Args:
        checkpoints: Folders or names on the hub, including LoRA adapters, each optionally with a
            name: NAME=CHECKPOINT. By default `tiny`, the model that kebyt5 ships.
        host: Address to listen on; 0.0.0.0 lets other machines in.
        port: Port to listen on; 0 for any free one.
    """
    limit_kernel_caches()
    require_extra("serve", "gradio", "uvicorn")
    from kebyt5.serving.options import ServeOptions
    from kebyt5.serving.playground import build
    from kebyt5.serving.registry import load_models, parse_checkpoints
    from kebyt5.serving.service import LocalService
    from kebyt5.serving.threads import leave_cores_to_workers

    options = ServeOptions(deadline=_DEADLINE)
    named = parse_checkpoints(checkpoints)
    threads = leave_cores_to_workers(len(named))
    models = load_models(named)
    services = {name: LocalService(name, model, options, threads) for name, model in models.items()}
    page = build(services)
    for service in services.values():
        service.start()
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            footer_links=[],
            run_history=False,
            state_session_capacity=page.state_session_capacity,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: cannot listen there: {error}") from error
    print(f"{address} shows the playground; Ctrl-C ends it.", flush=True)
    page.block_thread()
    for service in services.values():
        service.worker.stop()


__all__ = ["playground"]
