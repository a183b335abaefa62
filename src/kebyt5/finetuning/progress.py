"""Shows the progress of a fine-tuning run."""

from collections.abc import Sequence
from typing import Any

from transformers import TrainerControl, TrainerState

from kebyt5.evaluation.evaluate import show_score
from kebyt5.tasks import Task
from kebyt5.training.progress import ShowProgress


class ShowScores(ShowProgress):
    """Shows each validation as a line as well.

    Args:
        tasks: The tasks whose scores are shown.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__("Fine-tuning")
        self.tasks = tasks

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Prints a line where validation ended; otherwise as in any run."""
        super().on_log(args, state, control, logs, **kwargs)
        if not state.is_world_process_zero or not logs or "eval_choice" not in logs:
            return
        line = f"step {state.global_step}/{state.max_steps}, validation:"
        for task in self.tasks:
            name = task.main_score
            prefix = f"{task.name}_" if len(self.tasks) > 1 else ""
            line += f"  {task.name} {name} {show_score(name, logs[f'eval_{prefix}{name}'])}"
        self.console.print(line, highlight=False, soft_wrap=True)
