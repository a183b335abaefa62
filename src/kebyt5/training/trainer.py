"""What the trainers of pretraining and fine-tuning have in common."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer

from kebyt5.training.progress import ShowProgress
from kebyt5.training.schedule import cosine_cycles
from kebyt5.training.settings import RunSettings
from kebyt5.training.speed import warn_of_slow_bfloat16


class ByteModelTrainer(Trainer):
    """A `Trainer` with the schedule of a run's settings, and less talk.

    It neither prints its logs, of which `ShowProgress` shows what matters, nor warns of tied
    weights.

    Attributes:
        config: The settings; to be set before training.
    """

    config: RunSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model.config.use_cache = True  # `Trainer` turns it off, and would save that
        self.remove_callback(PrinterCallback)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains, warning of a slow bfloat16, and removes the bar however that ends."""
        if self.config.bf16 and self.is_world_process_zero():
            warn_of_slow_bfloat16(self.args.device)
        try:
            return super().train(*args, **kwargs)
        finally:
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, ShowProgress):
                    callback.stop()

    def learning_rate(self, steps: int) -> Callable[[int], float]:
        """Returns a schedule of decaying cosine cycles, which maps a step to its share of the peak.

        Args:
            steps: Number of steps of the whole run.
        """
        config = self.config
        return partial(
            cosine_cycles,
            steps=steps,
            cycles=config.cycles,
            decay=config.cycle_decay,
            floor=config.min_learning_rate / config.learning_rate,
            warmup=config.warmup_steps,
        )

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Creates the scheduler of `learning_rate`."""
        self.lr_scheduler: LambdaLR | None
        if self.lr_scheduler is None:
            rate = self.learning_rate(num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, rate)
        return self.lr_scheduler

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # A checkpoint stores tied weights only once.
        tied = self.model.get_expanded_tied_weights_keys()
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))
