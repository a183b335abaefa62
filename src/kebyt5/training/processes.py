"""Divides a training run among processes and devices."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.output import make_output_folder, only_process

_log = logging.getLogger(__name__)


def this_process() -> PartialState:
    """Tells which of the processes of a run this is.

    Without GPUs, Accelerate has to be told to use the CPU, or it treats several processes as
    separate runs.

    Raises:
        InputError: `accelerate launch` was asked for several processes but has started one.
    """
    state = PartialState(cpu=not torch.accelerator.is_available())
    # `accelerate launch` sets the first for every process, the second only for several.
    if {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= os.environ.keys() and state.num_processes == 1:
        raise InputError(
            "accelerate launch was asked for several processes, but has started one; give"
            " --multi_gpu, on CPUs too (or unset MASTER_ADDR to run a single process)"
        )
    return state


def require_one_device_each() -> None:
    """Refuses a single process with several GPUs, each of which would get a whole batch.

    Raises:
        InputError: There is one process but several GPUs.
    """
    count = torch.cuda.device_count()
    if this_process().num_processes == 1 and count > 1:
        raise InputError(
            f"{count} GPUs, but one process; use accelerate launch --multi_gpu --num-processes"
            f" {count} -m kebyt5 pretrain ..., or CUDA_VISIBLE_DEVICES=0 for one of them"
        )


@contextmanager
def own_folder(output: Path, may_continue: bool) -> Iterator[None]:
    """Makes the output folder of a run, and keeps other runs out of it.

    A run that Ctrl-C stops says how it goes on.

    Args:
        output: The folder.
        may_continue: Whether it may hold a run already.

    Raises:
        InputError: The folder holds something else, or another run is at work in it.
    """
    if not this_process().is_main_process:
        yield
        return
    make_output_folder(output, may_continue=True)
    with only_process(output, "run"):
        make_run_folder(output, may_continue)
        try:
            yield
        except KeyboardInterrupt:
            if _has_checkpoint(output):
                _log.info("%s: --resume continues from the last checkpoint", output)
            raise


def make_run_folder(output: Path, may_continue: bool) -> None:
    """Makes the output folder of a run, or of several, or accepts one that may be continued.

    Args:
        output: The folder.
        may_continue: Whether it may hold a run already.

    Raises:
        InputError: The folder holds something; of a stopped run the message says how it goes on.
    """
    is_stopped = _has_checkpoint(output) and not (output / "metrics.json").exists()
    if is_stopped and not may_continue:
        raise InputError(
            f"{output}: the output folder holds a training run that was stopped; --resume"
            " continues it"
        )
    make_output_folder(output, may_continue)


def _has_checkpoint(output: Path) -> bool:
    """Tells whether a run, or one of several, has written a checkpoint into its folder."""
    return any([*output.glob("checkpoint-*"), *output.glob("*/checkpoint-*")])


def divide_batch(batch_size: int, largest: int, world: int) -> tuple[int, int]:
    """Divides a batch among devices and accumulation steps.

    Args:
        batch_size: Examples per optimizer step, over all devices.
        largest: Most examples that one device may compute at a time.
        world: Number of devices.

    Returns:
        Examples that one device computes at a time, and how often it does so per step.

    Raises:
        InputError: The batch cannot be divided among the devices.
    """
    share, rest = divmod(batch_size, world)
    if rest or not share:
        raise InputError(f"--batch-size {batch_size}: not a multiple of {world} devices")
    size = next(size for size in range(min(share, largest), 0, -1) if share % size == 0)
    return size, share // size


def keep_tied_embeddings_together(model: PreTrainedModel) -> None:
    """Makes FSDP shard the byte embedding together with the modules that share its weight.

    Accelerate shards the input embedding by itself, after which PyTorch refuses those of encoder
    and decoder, which share its weight. Hiding it leaves all of them to the whole model.
    """
    model.get_input_embeddings = lambda: None
