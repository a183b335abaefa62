"""The pictures of a report, as PNG files in memory.

Their fonts have no Hangul, so nothing that a file says is written into them.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

_NOT_SCORES = ("eval_loss", "eval_unparsed", "eval_runtime", "_per_second", "eval_gen_len")
_GRID = 0.3
_PERCENT = (-2, 102)
DPI = 150


def learning_curves(history: Sequence[Mapping[str, Any]], main_scores: Mapping[str, str]) -> bytes:
    """Draws losses and scores against steps.

    Args:
        history: `log_history` of a trainer: training entries have `loss`, evaluations `eval_loss`
            and `eval_…` for each score.
        main_scores: The score that counts for each task, which is drawn. Its name in the history
            may begin with that of the task. Where the history has none, all are drawn.
    """
    figure, (losses, scores) = _figure(2)
    _curve(losses, history, "loss", "training")
    _curve(losses, history, "eval_loss", "validation")
    named = dict.fromkeys(key for entry in history for key in entry if key.startswith("eval_"))
    keys = [key for key in named if not key.endswith(_NOT_SCORES)]
    main = {f"eval_{score}" for score in main_scores.values()} | {
        f"eval_{task}_{score}" for task, score in main_scores.items()
    }
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
    return _png(figure)


def score_by_length(bins: Sequence[Mapping[str, Any]], score: str) -> bytes:
    """Draws a score by the length of the input, and how many examples there are of each."""
    figure, (axes,) = _figure(1)
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
    return _png(figure)


def score_by_noise(rates: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> bytes:
    """Draws scores against the rate of noise in the input."""
    figure, (axes,) = _figure(1)
    for score in scores:
        points = [(100 * r["rate"], r["scores"][score]) for r in rates if score in r["scores"]]
        axes.plot(*zip(*points, strict=True), marker="o", label=score)
    axes.set(xlabel="rate of noise (percent)", ylabel="percent", ylim=_PERCENT)
    return _png(figure)


def numbers_against_gold(gold: Sequence[float], answers: Sequence[float]) -> bytes:
    """Draws how often which number was answered for which, as the area of a dot."""
    figure, (axes,) = _figure(1, width=4.2, height=4)
    times = Counter(zip(gold, answers, strict=True))
    x, y = zip(*times, strict=True)
    axes.scatter(x, y, s=[9 * n for n in times.values()], alpha=0.5, linewidths=0)
    ends = [min(*gold, *answers), max(*gold, *answers)]
    axes.plot(ends, ends, color="#888888", linewidth=0.8, linestyle="--", label="gold = answer")
    axes.set(xlabel="gold", ylabel="answer", aspect="equal")
    return _png(figure)


def _figure(columns: int, width: float = 6, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width if columns == 1 else 9, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _curve(axes: Axes, history: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    points = [(entry["step"], entry[key]) for entry in history if key in entry]
    if points:
        marker = "o" if len(points) < 30 else ""
        axes.plot(*zip(*points, strict=True), label=label, marker=marker, markersize=3)


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        if axes.get_lines():
            axes.grid(alpha=_GRID)
            axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


__all__ = ["learning_curves", "numbers_against_gold", "score_by_length", "score_by_noise"]
