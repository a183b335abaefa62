"""`kebyt5 pretrain`."""

import sys
from typing import Annotated

from cyclopts import Parameter

from kebyt5.pretraining.config import PretrainConfig


def pretrain(config: Annotated[PretrainConfig, Parameter(name="*")]) -> None:
    r"""Pretrain a model on byte shards by span corruption.

    The output folder gets the checkpoint (safetensors), `history.jsonl` with the loss of every
    step, `metrics.json`, `pretraining.png`, `config.yaml` and a model card. `--resume` continues a
    killed run and gives the same result. On SIGTERM or Ctrl-C a run finishes its step, writes a
    checkpoint and exits with code 143 or 130.

    ```bash
    kebyt5 pretrain --corpus corpus --output runs/tiny --model gbst-kebyt5-tiny \
      --steps 20000 --batch-size 16
    kebyt5 pretrain --corpus corpus --output runs/warm --model google/byt5-base --gbst
    accelerate launch --multi_gpu --num-processes 8 -m kebyt5 pretrain \
      --config runs/tiny/config.yaml --output runs/tiny-again
    ```
    """
    from kebyt5.pretraining.pretrain import pretrain as run

    if config.names:
        from kebyt5.cli.display import warn_of_another_task
        from kebyt5.training.processes import this_process

        if this_process().is_main_process:
            warn_of_another_task(config.names, "ner")
    outcome = run(config)
    if outcome.step < config.steps:
        print(f"Stopped after step {outcome.step} with a checkpoint; --resume continues from there")
        # The exit code that shells give a process ended by that signal.
        sys.exit(128 + outcome.stopped_by if outcome.stopped_by else 0)
    if outcome.metrics:
        print(f"Written to {config.output}")
