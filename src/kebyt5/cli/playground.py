"""`kebyt5 playground`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt

from kebyt5.errors import InputError


def playground(
    *checkpoints: Annotated[str, Parameter(negative="")],
    host: str = "127.0.0.1",
    port: NonNegativeInt = 7860,
) -> None:
    r"""Open a page on which to ask checkpoints and see what they do.

    ```bash
    kebyt5 playground
    kebyt5 playground runs/ner runs/mrc --port 8000
    ```

    Args:
        checkpoints: Folders or names on the hub; `tiny`, the model that kebyt5 ships, where none
            is given.
        host: The address to listen on; 0.0.0.0 lets other machines in.
        port: The port to listen on, 0 for any that is free.
    """
    try:
        from kebyt5.serving.playground import build
    except ModuleNotFoundError as error:
        raise InputError(f"{error}; pip install 'kebyt5[serve]'") from error
    from kebyt5.models.loading import load

    models = {name: load(name) for name in checkpoints or ("tiny",)}
    page = build(models)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            footer_links=[],
            run_history=False,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: cannot listen there: {error}") from error
    print(f"{address} shows the playground; Ctrl-C ends it.", flush=True)
    page.block_thread()


__all__ = ["playground"]
