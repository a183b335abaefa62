"""The plots of a report, as PNG files in memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kebyt5.evaluation.plots import add_legend, draw_by_length, draw_by_noise, panels
from kebyt5.output import png


def score_by_length(bins: Sequence[Mapping[str, Any]], score: str) -> bytes:
    """Draws a score by the length of the input, over bars for the number of examples."""
    figure, (axes,) = panels(1)
    draw_by_length(axes, bins, score)
    return png(figure)


def score_by_noise(rates: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> bytes:
    """Draws scores against the rate of noise in the input."""
    figure, (axes,) = panels(1)
    draw_by_noise(axes, rates, scores)
    return png(figure)


def numbers_against_gold(gold: Sequence[float], answers: Sequence[float]) -> bytes:
    """Draws answers against gold; the area of a dot is the number of times the pair occurs."""
    figure, (axes,) = panels(1, width=4.2, height=4)
    times = Counter(zip(gold, answers, strict=True))
    x, y = zip(*times, strict=True)
    axes.scatter(x, y, s=[9 * n for n in times.values()], alpha=0.5, linewidths=0)
    ends = [min(*gold, *answers), max(*gold, *answers)]
    axes.plot(ends, ends, color="#888888", linewidth=0.8, linestyle="--", label="gold = answer")
    axes.set(xlabel="gold", ylabel="answer", aspect="equal")
    add_legend(axes)
    return png(figure)
