"""How a score falls with noise and with length, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plot_robustness(metrics: Mapping[str, Any], score: str, path: Path) -> None:
    """Draws a score against the rate of noise and against the length of the input.

    Nothing is drawn where there is but one point of each.

    Args:
        metrics: The content of `metrics.json`, with `by_length` and, where measured, `noise`.
        score: The score to draw, in percent.
        path: Where the PNG goes.
    """
    noise, by_length = metrics.get("noise") or [], metrics["by_length"]
    panels = [rows for rows in (noise, by_length) if len(rows) > 1]
    if not panels:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(panels), 3.5), layout="constrained")
    for axes, rows in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        values = [row["scores"][score] for row in rows]
        if rows is noise:
            axes.plot([row["rate"] for row in rows], values, marker="o")
            axes.set(xlabel="characters hit by noise (rate)")
        else:
            names = [f"{row['bytes'][0]:,}+\n({row['examples']})" for row in rows]
            axes.plot(names, values, marker="o")
            axes.set(xlabel="bytes of the input (examples)")
        axes.set(ylabel=score, ylim=(0, 100))
        axes.grid(alpha=0.3)
    temporary = path.with_name(f".incomplete-{path.name}")
    figure.savefig(temporary, dpi=150)
    temporary.replace(path)


__all__ = ["plot_robustness"]
