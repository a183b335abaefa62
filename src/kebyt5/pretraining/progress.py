"""Shows the progress of a pretraining run."""

from kebyt5.training.progress import ShowProgress


class ShowThroughput(ShowProgress):
    """Shows throughput and model FLOPs utilization (MFU) as well.

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

    def describe(self, steps_left: int) -> str:
        """Describes loss, bytes per second, MFU and time left in one line."""
        seconds = self.seconds_per_step or float("nan")
        utilization = self.flops_per_step / seconds / self.peak
        return (
            f"loss {self.loss:.3f}  {self.bytes_per_step / seconds / 1e3:,.1f} kB/s"
            f"  MFU {utilization:.0%}  {self.time_left(steps_left)} left"
        )


__all__ = ["ShowThroughput"]
