"""Shows the progress of a run: a bar, or a line now and then without a terminal."""

import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from transformers import TrainerCallback, TrainerControl, TrainerState

SECONDS_BETWEEN_LINES = 30.0
_MEMORY = 0.95
"""Weight of the running mean of step times against the last step's time."""


class ShowProgress(TrainerCallback):
    """Shows step, loss and the time that is left.

    Args:
        title: What the run does.
    """

    def __init__(self, title: str) -> None:
        self.seconds_per_step: float | None = None
        self.loss = float("nan")
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.last_line = time.monotonic()

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Shows an empty bar."""
        self.began = time.perf_counter()
        if state.is_world_process_zero:
            self.task = self.progress.add_task("", total=state.max_steps)
            self.progress.start()

    def on_step_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock, so that validation and checkpoints do not count as training time."""
        self.began = time.perf_counter()

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Updates the mean time of a step."""
        seconds = time.perf_counter() - self.began
        if self.seconds_per_step is not None:
            seconds = _MEMORY * self.seconds_per_step + (1 - _MEMORY) * seconds
        self.seconds_per_step = seconds

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Updates the bar or, without a terminal, prints a line when one is due."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        self.loss = logs["loss"]
        text = self.describe(state.max_steps - state.global_step)
        self.progress.update(self.task, completed=state.global_step, description=text)
        is_due = time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES
        if is_due and not self.console.is_terminal:
            self.last_line = time.monotonic()
            self.console.print(f"step {state.global_step}/{state.max_steps}: {text}")

    def describe(self, steps_left: int) -> str:
        """Describes the loss and the time that is left in one line."""
        return f"loss {self.loss:.3f}  {self.time_left(steps_left)} left"

    def time_left(self, steps_left: int) -> str:
        """Estimates the time that steps take, as hours, minutes and seconds."""
        seconds = self.seconds_per_step
        return str(timedelta(seconds=round(seconds * steps_left))) if seconds else "?"

    def on_train_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Removes the bar."""
        self.progress.stop()


__all__ = ["ShowProgress"]
