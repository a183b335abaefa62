"""When a pretraining run validates, saves and stops, and what SIGTERM does to it."""

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

    A run stops before its end when SIGTERM has come or its time is up.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        minutes = config.minutes
        self.deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        self.terminated = False

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Handles the signal."""
        self.terminated = True

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """All devices have to stop after the same step, so they ask each other."""
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
        """What there was to do has been done after the last step."""
        control.should_save = control.should_evaluate = False


def begin_worker(begin: Callable[[int], None] | None, number: int) -> None:
    """Begins a process that prepares batches, which goes on when its group gets SIGTERM.

    Cluster schedulers send it to all processes of a run. This one ends with the run itself.

    Args:
        begin: What else there is to be done.
        number: Of the worker.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if begin is not None:
        begin(number)


__all__ = ["Steer", "begin_worker"]
