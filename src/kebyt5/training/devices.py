"""How a run is divided among processes and devices; fine-tuning uses the same."""

import os

import torch
from accelerate import PartialState
from transformers import PreTrainedModel

from kebyt5.errors import InputError


def this_process() -> PartialState:
    """Which of the processes of a run this is.

    Without being told so, Accelerate takes several processes without GPUs for as many runs.

    Raises:
        InputError: `accelerate launch` was asked for several processes and has started one.
    """
    state = PartialState(cpu=not torch.accelerator.is_available())
    # It tells a process by itself whether to use the CPU, and one of several where to meet.
    if {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= os.environ.keys() and state.num_processes == 1:
        raise InputError(
            "accelerate launch was asked for several processes, but has started one; say"
            " --multi_gpu, on CPUs too (or unset MASTER_ADDR where one is meant)"
        )
    return state


def require_one_device_each() -> None:
    """Refuses a single process that sees several GPUs, each of which would be given a whole batch.

    Raises:
        InputError: It does.
    """
    count = torch.cuda.device_count()
    if this_process().num_processes == 1 and count > 1:
        raise InputError(
            f"{count} GPUs, but one process; use accelerate launch --multi_gpu --num-processes"
            f" {count} -m kebyt5 pretrain ..., or CUDA_VISIBLE_DEVICES=0 for one of them"
        )


def divide_batch(batch_size: int, largest: int, world: int) -> tuple[int, int]:
    """Divides a batch: examples that one device computes at a time, and how often it does.

    Args:
        batch_size: Examples of an optimizer step, over all devices.
        largest: What one device may compute at a time.
        world: How many devices there are.

    Raises:
        InputError: The batch cannot be divided among the devices.
    """
    share, rest = divmod(batch_size, world)
    if rest or not share:
        raise InputError(f"--batch-size {batch_size}: not a multiple of {world} devices")
    size = next(size for size in range(min(share, largest), 0, -1) if share % size == 0)
    return size, share // size


def keep_tied_embeddings_together(model: PreTrainedModel) -> None:
    """Has FSDP shard the byte embedding with what shares its weight.

    Accelerate shards the input embedding on its own, and then PyTorch refuses the encoder's and
    the decoder's, whose weight is the same. Hidden from it, all of them belong to the whole model.
    """
    model.get_input_embeddings = lambda: None


__all__ = [
    "divide_batch",
    "keep_tied_embeddings_together",
    "require_one_device_each",
    "this_process",
]
