"""`kebyt5 serve`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import Port, PositiveInt

from kebyt5.cli.extras import require_extra
from kebyt5.errors import InputError
from kebyt5.process import limit_kernel_caches
from kebyt5.serving.options import ServeOptions


def serve(
    *checkpoints: str,
    host: str = "127.0.0.1",
    port: Port = 8000,
    device: str = "cpu",
    playground: bool = True,
    ray: bool = False,
    replicas: PositiveInt = 1,
    max_replicas: PositiveInt | None = None,
    cores: PositiveInt = 1,
    options: Annotated[ServeOptions | None, Parameter(name="*")] = None,
) -> None:
    r"""Serve checkpoints over HTTP, with documentation of the interface at /docs.

    ```bash
    kebyt5 serve runs/ner
    kebyt5 serve ner=runs/ner mrc=runs/mrc-lora --host 0.0.0.0 --api-keys keys.txt
    kebyt5 serve runs/ner --ray --replicas 2 --max-replicas 8
    ```

    Args:
        checkpoints: Folders or names on the hub, including LoRA adapters, each optionally with a
            name: NAME=CHECKPOINT. The first one answers requests that name no model. By default
            `tiny`, the model that kebyt5 ships.
        host: Address to listen on; 0.0.0.0 for all.
        port: Port to listen on; 0 for any free one, but not with `--ray`.
        device: Device to compute on: `cpu`, or a GPU by its name in PyTorch, such as `cuda` or
            `cuda:1`; not with `--ray`.
        playground: Serve the playground at `/`, unless `--api-keys` or `--ray` is given.
        ray: Run on Ray Serve, on the cluster at RAY_ADDRESS or a new one on this machine.
        replicas: Ray: smallest number of replicas of each model.
        max_replicas: Ray: largest number of replicas of each model, depending on the load; by
            default the same as `--replicas`.
        cores: Ray: cores that each replica reserves and computes with.
        options: Limits and keys.
    """
    limit_kernel_caches()
    require_extra("serve", "fastapi", "uvicorn", "prometheus_client", *(["ray"] if ray else []))
    from kebyt5.devices import require_device
    from kebyt5.serving.logs import configure
    from kebyt5.serving.registry import load_models, parse_checkpoints

    if ray and device != "cpu":
        raise InputError("--device: not with --ray, whose replicas compute on CPUs")
    the_device = require_device(device)
    if not ray and (replicas, max_replicas, cores) != (1, None, 1):
        raise InputError("--replicas, --max-replicas and --cores are for --ray")
    options = options or ServeOptions()
    if ray and options.lame_duck_seconds:
        raise InputError("--lame-duck-seconds: not with --ray, which takes replicas out itself")
    max_replicas = max_replicas or replicas
    if max_replicas < replicas:
        raise InputError(f"--max-replicas {max_replicas}: fewer than --replicas {replicas}")
    if ray and port == 0:
        raise InputError("--port 0: not with --ray, whose machines all listen on one port; name it")
    options.read_api_keys()  # reports errors now rather than in a remote process
    named = parse_checkpoints(checkpoints)
    if ray:
        from kebyt5.serving.ray_serve import run as run_on_ray

        configure()
        run_on_ray(named, options, host, port, replicas, max_replicas, cores)
        return
    from kebyt5.serving.server import bind, run
    from kebyt5.serving.threads import leave_cores_to_workers

    sockets = bind(host, port)  # reports errors before the models are loaded
    has_playground = playground and options.api_keys is None
    threads = leave_cores_to_workers(len(named))
    models = load_models(named, the_device)
    configure()
    run(models, options, sockets, playground=has_playground, threads=threads)
