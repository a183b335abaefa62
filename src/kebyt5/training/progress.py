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
        self._restart(state)
        if state.is_world_process_zero:
            self.task = self.progress.add_task("", total=state.max_steps)
            self.progress.start()

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
        self._count(state.global_step)
        text = self.describe(state.max_steps - state.global_step)
        self.progress.update(self.task, completed=state.global_step, description=text)
        is_due = time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES
        if is_due and not self.console.is_terminal:
            self.last_line = time.monotonic()
            line = f"step {state.global_step}/{state.max_steps}: {text}"
            self.console.print(line, soft_wrap=True)

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Restarts the clock, as validation does not count as training time."""
        self._restart(state)

    def on_save(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Restarts the clock, as checkpoints do not count as training time."""
        self._restart(state)

    def _restart(self, state: TrainerState) -> None:
        self._began, self._step = time.perf_counter(), state.global_step

    def _count(self, step: int) -> None:
        """Updates the mean time of a step, with all that it waits for: its batch, its device."""
        now, steps = time.perf_counter(), step - self._step
        if steps < 1:
            return
        seconds = (now - self._began) / steps
        if self.seconds_per_step is not None:
            kept = _MEMORY**steps
            seconds = kept * self.seconds_per_step + (1 - kept) * seconds
        self.seconds_per_step = seconds
        self._began, self._step = now, step

    def describe(self, steps_left: int) -> str:
        """Describes the loss and the time that is left in one line."""
        return f"loss {self.loss:.3f}  {self.time_left(steps_left)} left"

    def time_left(self, steps_left: int) -> str:
        """Estimates the time that steps take, as hours, minutes and seconds."""
        seconds = self.seconds_per_step
        return str(timedelta(seconds=round(seconds * steps_left))) if seconds else "?"

    def stop(self) -> None:
        """Removes the bar, and shows the cursor again."""
        self.progress.stop()
