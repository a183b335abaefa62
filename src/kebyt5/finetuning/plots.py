"""The curves of a run as a picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def plot_history(
    history: Sequence[dict[str, Any]], score: str, path: str | os.PathLike[str]
) -> None:
    """Draws losses and the score against steps.

    Args:
        history: `log_history` of a trainer: training entries have `loss`, evaluations
            `eval_loss` and `eval_{score}`.
        score: The score to draw, in percent.
        path: Where the PNG goes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for axes, key, label in (
        (losses, "loss", "training"),
        (losses, "eval_loss", "validation"),
        (scores, f"eval_{score}", score),
    ):
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="." if "eval" in key else "")
    losses.set(xlabel="step", ylabel="loss (nats per byte)", yscale="log")
    scores.set(xlabel="step", ylabel="percent", ylim=(0, 100))
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.legend()
    temporary = Path(path).with_suffix(".incomplete.png")
    figure.savefig(temporary, dpi=150)
    temporary.replace(path)


__all__ = ["plot_history"]
