"""The plots of the corpus report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kebyt5.corpus.tally import Counts
from kebyt5.output import save_figure


def plot_bytes(sizes: Mapping[str, int], path: Path) -> None:
    """Draws the bytes of every source as bars."""
    figure, axes = _figure(len(sizes))
    axes.barh(list(sizes), [size / 1e6 for size in sizes.values()])
    axes.set(xlabel="MB")
    axes.invert_yaxis()
    save_figure(figure, path)


def plot_lengths(lengths: Mapping[str, np.ndarray], path: Path) -> None:
    """Draws a histogram of documents by length, with the sources stacked.

    Args:
        lengths: Counts by length class, (classes,), for each source.
        path: Path of the PNG file.
    """
    figure, axes = _figure(12)
    counts = np.array(list(lengths.values()))
    used = np.flatnonzero(counts.sum(0))
    classes = np.arange(used[0], used[-1] + 1)
    bottom = np.zeros(len(classes))
    colors = _colors(len(lengths))
    for source, row, color in zip(lengths, counts[:, classes], colors, strict=True):
        axes.bar(classes, row, bottom=bottom, width=0.9, label=source, color=color)
        bottom += row
    axes.set(xlabel="bytes of a document, from", ylabel="documents")
    axes.set_xticks(classes, [_short(2 ** int(number)) for number in classes], rotation=45)
    _legend(axes, len(lengths))
    save_figure(figure, path)


def plot_scripts(shares: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draws the share of every script in the characters of every source as stacked bars."""
    figure, axes = _figure(len(shares))
    left = np.zeros(len(shares))
    for script in next(iter(shares.values())):
        width = np.array([100 * share[script] for share in shares.values()])
        axes.barh(list(shares), width, left=left, label=script)
        left += width
    axes.set(xlabel="percent of the characters", xlim=(0, 100))
    axes.invert_yaxis()
    _legend(axes, 5)
    save_figure(figure, path)


def plot_drops(rejected: Counts, path: Path) -> None:
    """Draws the documents dropped for every reason as bars, with the sources stacked."""
    reasons = sorted({reason for counts in rejected.values() for reason in counts})
    figure, axes = _figure(len(reasons))
    left = np.zeros(len(reasons))
    for (source, counts), color in zip(rejected.items(), _colors(len(rejected)), strict=True):
        width = np.array([counts.get(reason, [0, 0])[0] for reason in reasons], float)
        axes.barh(reasons, width, left=left, label=source, color=color)
        left += width
    axes.set(xlabel="documents dropped")
    axes.invert_yaxis()
    _legend(axes, len(rejected))
    save_figure(figure, path)


def _figure(rows: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.28 * max(rows, 4)), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _colors(number: int) -> Any:
    from matplotlib import colormaps

    return colormaps["turbo"](np.linspace(0.05, 0.95, number))


def _legend(axes: Any, entries: int) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, ncols=1 + entries // 30)


def _short(number: int) -> str:
    for power, unit in ((30, "G"), (20, "M"), (10, "k")):
        if number >= 1 << power:
            return f"{number >> power} {unit}"
    return str(number)
