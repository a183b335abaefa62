"""Decides when a pretraining run validates, saves and stops; handles SIGTERM."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from kebyt5.pretraining.config import PretrainConfig


class Steer(TrainerCallback):
    """Decides after every step whether to validate, and whether to stop with a checkpoint.

    A run stops early when it receives SIGTERM or its time is up.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        minutes = config.minutes
        self.deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        self.terminated = False

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Handles SIGTERM."""
        self.terminated = True

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Decides what follows a step; devices vote, as all have to stop after the same one."""
        stops = self.terminated or time.monotonic() > self.deadline
        if args.world_size > 1:
            votes = torch.tensor([float(stops), float(self.terminated)], device=args.device)
            torch.distributed.all_reduce(votes)
            stops, self.terminated = (bool(vote) for vote in votes.tolist())
        if stops:
            control.should_training_stop = control.should_save = True
        is_last = state.global_step >= state.max_steps
        control.should_save = control.should_save or is_last
        control.should_evaluate = is_last or state.global_step % self.config.eval_steps == 0

    def on_epoch_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Skips saving and validation, which `on_step_end` has already requested."""
        control.should_save = control.should_evaluate = False


def begin_worker(begin: Callable[[int], None] | None, number: int) -> None:
    """Makes a data-loader worker ignore SIGTERM; it ends with the run.

    Cluster schedulers send SIGTERM to the whole process group.

    Args:
        begin: Another initialization function to call, if any.
        number: Number of the worker.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if begin is not None:
        begin(number)


__all__ = ["Steer", "begin_worker"]
