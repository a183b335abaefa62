"""Shows the progress of a pretraining run."""

from typing import Any

from transformers import TrainerState

from kebyt5.training.progress import ShowProgress


class ShowThroughput(ShowProgress):
    """Shows throughput and model FLOPs utilization (MFU), and each validation as a line.

    Args:
        bytes_per_step: Bytes of text that a step reads.
        flops_per_step: Operations in the matrix products of a step.
        peak: Operations per second of all devices together.
    """

    def __init__(self, bytes_per_step: float, flops_per_step: float, peak: float) -> None:
        super().__init__("Pretraining")
        self.bytes_per_step = bytes_per_step
        self.flops_per_step = flops_per_step
        self.peak = peak

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Prints the bits per byte of all sources together."""
        super().on_evaluate(args, state, control, **kwargs)
        if state.is_world_process_zero:
            line = f"step {state.global_step}: {kwargs['metrics']['all']:.4f} bits per byte"
            self.console.print(line, highlight=False)

    def describe(self, steps_left: int) -> str:
        """Describes loss, bytes per second, MFU and time left in one line."""
        seconds = self.seconds_per_step or float("nan")
        utilization = self.flops_per_step / seconds / self.peak
        return (
            f"loss {self.loss:.3f}  {self.bytes_per_step / seconds / 1e3:,.1f} kB/s"
            f"  MFU {utilization:.0%}  {self.time_left(steps_left)} left"
        )
