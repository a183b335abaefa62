"""Plots of a run: learning curves, and scores by noise and by length of the input."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOT_SCORES = (
    "_choice",
    "eval_loss",
    "eval_unparsed",
    "eval_runtime",
    "_per_second",
    "eval_gen_len",
)
_GRID = 0.3
_PERCENT = (-2, 102)


def panels(columns: int, width: float = 6, height: float = 3.2) -> tuple["Figure", list["Axes"]]:
    """Makes a figure with one panel, `width` inches wide, or with several that share 9 inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width if columns == 1 else 9, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def add_legend(axes: "Axes") -> None:
    """Adds a grid and a legend to a panel that has curves."""
    if axes.get_lines():
        axes.grid(alpha=_GRID)
        axes.legend()


def learning_curves(
    history: Sequence[Mapping[str, Any]], main_scores: Mapping[str, str]
) -> "Figure":
    """Draws losses and scores against steps.

    Args:
        history: The `log_history` of a trainer: training entries have `loss`, evaluations have
            `eval_loss` and `eval_…` for each score.
        main_scores: Name of the main score of each task. The history may prefix it with the name
            of the task. Only main scores are drawn, or all scores if the history has none of them.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, (losses, scores) = panels(2)
    _curve(losses, history, "loss", "training")
    _curve(losses, history, "eval_loss", "validation")
    named = dict.fromkeys(key for entry in history for key in entry if key.startswith("eval_"))
    keys = [key for key in named if not key.endswith(_NOT_SCORES)]
    main = {f"eval_{score}" for score in main_scores.values()} | {
        f"eval_{task}_{score}" for task, score in main_scores.items()
    }
    if len(main_scores) > 1:
        main.add("eval_main_score")
    for key in [key for key in keys if key in main] or keys:
        _curve(scores, history, key, key.removeprefix("eval_"))
    losses.set(xlabel="step", ylabel="loss (nats per byte)", yscale="log")
    losses.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    losses.yaxis.set_major_formatter("{x:g}")
    losses.yaxis.set_minor_formatter(NullFormatter())
    scores.set(xlabel="step", ylabel="percent", ylim=_PERCENT)
    end = max((entry.get("step", 0) for entry in history), default=0)
    for axes in (losses, scores):
        axes.set_xlim(0, 1.03 * end or 1)
        add_legend(axes)
    return figure


def draw_by_length(axes: "Axes", bins: Sequence[Mapping[str, Any]], score: str) -> None:
    """Draws a score by the length of the input, over bars for the number of examples."""
    places = range(len(bins))
    counts = axes.twinx()
    counts.bar(places, [b["examples"] for b in bins], color="#d8dee6", width=0.9)
    counts.set_ylabel("examples (bars)")
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(places, [b["scores"].get(score) for b in bins], marker="o", label=score)
    labels = ["–".join("" if n is None else f"{n:,}" for n in b["bytes"]) for b in bins]
    axes.set_xticks(places, labels, rotation=30 if len(bins) > 6 else 0)
    axes.set(xlabel="input in bytes", ylabel="percent", ylim=_PERCENT)
    add_legend(axes)


def draw_by_noise(axes: "Axes", rates: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> None:
    """Draws scores against the rate of noise in the input."""
    for score in scores:
        points = [(100 * r["rate"], r["scores"][score]) for r in rates if score in r["scores"]]
        axes.plot(*zip(*points, strict=True), marker="o", label=score)
    axes.set(xlabel="rate of noise (percent)", ylabel="percent", ylim=_PERCENT)
    add_legend(axes)


def robustness_curves(metrics: Mapping[str, Any], score: str) -> "Figure | None":
    """Draws a score against the rate of noise and against the length of the input.

    Args:
        metrics: The content of `metrics.json`, with `by_length` and, where measured, `noise`.
        score: The score to draw, in percent.

    Returns:
        The figure; None if neither curve has more than one point.
    """
    noise, by_length = metrics.get("noise") or [], metrics["by_length"]
    drawn = [rows for rows in (noise, by_length) if len(rows) > 1]
    if not drawn:
        return None
    figure, axes = panels(len(drawn))
    if len(noise) > 1:
        draw_by_noise(axes[0], noise, [score])
    if len(by_length) > 1:
        draw_by_length(axes[-1], by_length, score)
    return figure


def _curve(axes: "Axes", history: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    points = [(entry["step"], entry[key]) for entry in history if key in entry]
    if points:
        marker = "o" if len(points) < 30 else ""
        axes.plot(*zip(*points, strict=True), label=label, marker=marker, markersize=3)
