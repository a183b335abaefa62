"""`kebyt5 playground`."""

import logging
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import Port

from kebyt5.cli.extras import require_extra
from kebyt5.process import limit_kernel_caches

_DEADLINE = 3600.0
"""Seconds that an answer may take; long enough that people close the page earlier."""


def playground(
    *checkpoints: Annotated[str, Parameter(negative="")],
    host: str = "127.0.0.1",
    port: Port = 7860,
    device: str = "cpu",
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
        device: Device to compute on: `cpu`, or a GPU by its name in PyTorch, such as `cuda` or
            `cuda:1`.
    """
    limit_kernel_caches()
    logging.getLogger("kebyt5.serving").setLevel(logging.WARNING)  # a person reads what is printed
    require_extra("serve", "gradio", "uvicorn")
    from kebyt5.devices import require_device
    from kebyt5.serving.options import ServeOptions
    from kebyt5.serving.registry import load_models, parse_checkpoints
    from kebyt5.serving.server import bind, run
    from kebyt5.serving.threads import leave_cores_to_workers

    named, the_device = parse_checkpoints(checkpoints), require_device(device)
    sockets = bind(host, port)  # reports errors before the models are loaded
    _, port, *_ = sockets[0].getsockname()
    threads = leave_cores_to_workers(len(named))

    def tell() -> None:
        print(f"http://{host}:{port} shows the playground; Ctrl-C ends it.", flush=True)

    with suppress(KeyboardInterrupt):
        models = load_models(named, the_device)
        options = ServeOptions(deadline=_DEADLINE)
        run(models, options, sockets, playground=True, threads=threads, on_ready=tell)
