"""Draws the curves of a pretraining run."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kebyt5.output import save_figure


def plot_history(history: Sequence[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draws training loss and bits per byte of each source against steps.

    Args:
        history: Entries of a `History`.
        path: File to write, a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    training, validation = figure.subplots(1, 2)
    losses = np.array([(e["step"], e["loss"]) for e in history if "loss" in e]).reshape(-1, 2)
    training.plot(*losses.T, color="tab:blue", alpha=0.3, linewidth=0.5)
    width = max(1, len(losses) // 100)
    if len(losses) >= width:
        kernel = np.ones(width) / width
        means = [np.convolve(column, kernel, mode="valid") for column in losses.T]
        training.plot(*means, color="tab:blue", label=f"mean of {width} steps")
    training.set(xlabel="step", ylabel="loss (nats per target id)", title="training")
    measured = [entry for entry in history if "bits_per_byte" in entry]
    for name in measured[-1]["bits_per_byte"] if measured else ():
        points = [(entry["step"], entry["bits_per_byte"][name]) for entry in measured]
        style = {"color": "black", "linewidth": 2.0} if name == "all" else {"linewidth": 0.8}
        validation.plot(*zip(*points, strict=True), label=name, **style)
    validation.set(xlabel="step", ylabel="bits per masked byte", title="validation")
    for axes in (training, validation):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="x-small")
    save_figure(figure, path)
