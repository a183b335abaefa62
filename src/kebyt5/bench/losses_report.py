"""Page and plot of the losses of alternatives."""

from pathlib import Path

import numpy as np

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.losses import LossCurves
from kebyt5.bench.report import made_with, table
from kebyt5.output import save_figure


def report_losses(size: str, curves: LossCurves) -> str:
    """Writes the page on the differences of the loss curves of equivalent alternatives."""
    steps = len(next(iter(curves.losses.values())))
    lines = [
        f"# Loss curves, {size}",
        "",
        f"{steps} steps with AdamW from the same weights on the same batches (tagging sentences"
        " written for this project, with padding), float32, without dropout. Rounding grows in"
        " training: what is rounded otherwise drifts apart, as Transformers' eager and sdpa do.",
        "",
    ]
    rows = [
        [
            ALTERNATIVES[name].title,
            ALTERNATIVES[other].title,
            f"{curves.losses[name][0]:.4f} / {curves.losses[other][0]:.4f}",
            f"{curves.losses[name][-1]:.4f} / {curves.losses[other][-1]:.4f}",
            f"{np.median(curves.apart(name, other)):.1e}",
            f"{max(curves.apart(name, other)):.1e}",
        ]
        for name, other in curves.pairs()
    ]
    head = ["", "beside", "first loss", "last loss", "median relative difference", "largest"]
    return "\n".join([*lines, *table(head, rows), "", made_with(), ""])


def plot_losses(curves: LossCurves, path: Path) -> None:
    """Draws the loss curves and, below them, their relative differences."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, losses in curves.losses.items():
        ours = name.startswith("kebyt5")
        above.plot(losses, label=ALTERNATIVES[name].title, linewidth=1 if ours else 3.5,
                   alpha=1 if ours else 0.4)  # fmt: skip
    above.set(ylabel="loss, nats per target id")
    above.legend()
    for name, other in curves.pairs():
        title = f"{ALTERNATIVES[name].title} beside {ALTERNATIVES[other].title}"
        below.semilogy(np.maximum(curves.apart(name, other), 1e-9), label=title, linewidth=1)
    below.set(xlabel="step", ylabel="relative difference")
    below.legend(fontsize="small")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    save_figure(figure, path)
