"""Decides when a pretraining run validates, saves and stops; handles SIGTERM and Ctrl-C."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from kebyt5.pretraining.config import PretrainConfig
from kebyt5.workers import end_with_parent

_log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""Signals on which a run stops with a checkpoint."""


class Steer(TrainerCallback):
    """Decides after every step whether to validate, and whether to stop with a checkpoint.

    A run stops early when it receives a signal or its time is up.

    Args:
        config: The settings.
        measure: Validates.

    Attributes:
        stopped_by: Number of the signal that stopped the run; 0 if none did.
    """

    def __init__(self, config: PretrainConfig, measure: Callable[[], Any]) -> None:
        self.config = config
        self._measure = measure
        minutes = config.minutes
        self.deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
        self.stopped_by = 0

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Lets SIGTERM and SIGINT (Ctrl-C) stop the run inside after the current step."""
        before = {number: signal.signal(number, self._stop) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
            _log.warning("stopping after this step, with a checkpoint; Ctrl-C again stops at once")
        self.stopped_by = number

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Validates where the run was stopped without."""
        step = state.global_step
        if 0 < step < state.max_steps and step % self.config.eval_steps == 0:
            self._measure()

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Decides what follows a step; devices vote, as all have to stop after the same one."""
        stops = self.stopped_by > 0 or time.monotonic() > self.deadline
        if args.world_size > 1:
            votes = torch.tensor([int(stops), self.stopped_by], device=args.device)
            torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
            stops, self.stopped_by = votes.tolist()
        if stops:
            control.should_training_stop = control.should_save = True
        is_last = state.global_step >= state.max_steps
        control.should_save = control.should_save or is_last
        # Whoever stops a run may not wait for a validation before the checkpoint.
        is_due = state.global_step % self.config.eval_steps == 0 and not stops
        control.should_evaluate = is_last or is_due

    def on_epoch_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Skips saving and validation, which `on_step_end` has already requested."""
        control.should_save = control.should_evaluate = False


def begin_worker(begin: Callable[[int], None] | None, number: int) -> None:
    """Makes a data-loader worker ignore what stops a run, as it ends with the run.

    Cluster schedulers and terminals send signals to the whole process group.

    Args:
        begin: Another initialization function to call, if any.
        number: Number of the worker.
    """
    end_with_parent()  # whose lock of the output folder it shares
    for stopping in STOPPING:
        signal.signal(stopping, signal.SIG_IGN)
    if begin is not None:
        begin(number)
