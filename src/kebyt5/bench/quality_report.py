"""The page that compares starts by fine-tuning: tables and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kebyt5.bench.quality import Cell, Recipe, Table
from kebyt5.bench.report import made_with, table
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.output import save_figure
from kebyt5.tasks import get_task

Results = Mapping[Cell, Mapping[str, Any]]

NOTE = """\
Mean ± standard deviation over {seeds} seeds of each task's main score in percent, on all validation
examples; the last weights count, none are chosen by them. In brackets how far a row is from the
first, in standard errors of the difference."""

SECONDS_NOTE = """Processor seconds of a run, all cores together: training and evaluation, mean.
What else the machine did at the time can multiply them."""


def report_quality(recipe: Recipe, results: Results, left_out: Sequence[str] = ()) -> str:
    """Writes the page, except for its plot; it names the rows that were left out."""
    lines = ["# KLUE and NSMC, small", "", *recipe.note.strip().splitlines(), ""]
    if left_out:
        lines += [f"Left out, as what they start from was not there: {'; '.join(left_out)}.", ""]
    for part in recipe.tables:
        lines += [f"## {part.title}", ""]
        seeds = sorted({len(recipe.seeds(part, task)) for task in part.tasks})
        note = NOTE.format(seeds=" or ".join(map(str, seeds)))
        lines += [*part.note.strip().splitlines(), "", *note.splitlines(), ""]
        lines += [*score_table(part, results), "", SECONDS_NOTE, "", *time_table(part, results), ""]
    lines += ["## Settings", "", *settings_table(recipe, results), ""]
    commits = sorted({str(metrics["made"]["commit"]) for metrics in results.values()})
    return "\n".join([*lines, f"Runs made with commit {', '.join(commits)}.", "", made_with(), ""])


def score_table(part: Table, results: Results) -> list[str]:
    """Makes a table with one row per start and the mean over tasks, the trivial baseline last."""
    first = next(iter(part.rows))
    rows = []
    for row in part.rows:
        cells, pairs = [], []
        for task in part.tasks:
            scores = main_scores(part, row, task, results)
            pair = scores, main_scores(part, first, task, results)
            cell = f"{np.mean(scores):.1f}"
            cell += f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
            cells.append(cell + _apart([pair], row != first))
            pairs.append(pair)
        mean = np.mean([np.mean(scores) for scores, _ in pairs])
        rows.append([row, *cells, f"{mean:.1f}" + _apart(pairs, row != first)])
    trivial = []
    for task in part.tasks:
        metrics = next(m for cell, m in results.items() if cell.task == task)
        value = (metrics["baseline"] or {}).get(get_task(task).main_score)
        trivial.append("" if value is None else f"{value:.1f}")
    rows.append(["*trivial baseline*", *trivial, ""])
    heads = [f"{task}, {get_task(task).main_score}" for task in part.tasks]
    return table(["", *heads, "mean"], rows)


def time_table(part: Table, results: Results) -> list[str]:
    """Makes a table of the duration of a run, with one row per start."""
    rows = [[row, *(f"{_seconds(part, row, t, results):.0f}" for t in part.tasks)]
            for row in part.rows]  # fmt: skip
    return table(["", *part.tasks], rows)


def settings_table(recipe: Recipe, results: Results) -> list[str]:
    """Makes a table of data sizes and settings, with one row per task."""
    rows = []
    for task, own in recipe.tasks.items():
        metrics = next((m for cell, m in results.items() if cell.task == task), None)
        if metrics is None:
            continue
        settings = {**recipe.finetune, **own}
        training = metrics["training"]
        epochs = settings.get("epochs", FinetuneConfig.epochs)
        batch_size = settings.get("batch_size", FinetuneConfig.batch_size)
        learning_rate = settings.get("learning_rate", FinetuneConfig.learning_rate)
        rows.append([
            task, f"{training['examples']:,}", f"{metrics['examples']:,}", f"{epochs:g}",
            str(batch_size), f"{training['steps']:,}", f"{learning_rate:g}",
        ])  # fmt: skip
    return table(["", "training examples", "validation examples", "epochs", "batch", "steps",
                  "learning rate"], rows)  # fmt: skip


def main_scores(part: Table, row: str, task: str, results: Results) -> list[float]:
    """Returns the main scores of all seeds."""
    name = get_task(task).main_score
    return [metrics["scores"][name] for metrics in _of(part, row, task, results)]


def standard_errors(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float | None:
    """Computes how far the means of two starts are apart, in standard errors (Welch).

    Args:
        pairs: For each task, the scores of one start and those of the other.

    Returns:
        The mean difference over its error; None if a task has only one score, or all are equal.
    """
    every = [scores for pair in pairs for scores in pair]
    if min(map(len, every)) < 2:
        return None
    error = np.sqrt(sum(np.var(scores, ddof=1) / len(scores) for scores in every))
    difference = sum(np.mean(scores) - np.mean(others) for scores, others in pairs)
    return float(difference / error) if error else None


def plot_quality(recipe: Recipe, results: Results, path: Path) -> None:
    """Draws one panel per table: means with their deviation, and a dot for every run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4 * len(recipe.tables)), layout="constrained")
    panels = figure.subplots(len(recipe.tables), 1, squeeze=False)[:, 0]
    for axes, part in zip(panels, recipe.tables, strict=True):
        width = 0.8 / len(part.rows)
        for number, row in enumerate(part.rows):
            places = np.arange(len(part.tasks)) + number * width
            scores = [main_scores(part, row, task, results) for task in part.tasks]
            axes.bar(
                places, [np.mean(s) for s in scores], width, alpha=0.7, label=row,
                yerr=[_deviation(s) for s in scores], capsize=3,
            )  # fmt: skip
            for place, dots in zip(places, scores, strict=True):
                axes.plot([place] * len(dots), dots, ".", color="black", markersize=4)
        titles = [f"{task}\n{get_task(task).main_score}" for task in part.tasks]
        axes.set_xticks(np.arange(len(part.tasks)) + 0.4 - width / 2, titles)
        axes.set(title=part.title, ylabel="%")
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    save_figure(figure, path)


def _apart(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], is_compared: bool) -> str:
    errors = standard_errors(pairs) if is_compared else None
    return "" if errors is None else f" ({errors:+.1f})"


def _of(part: Table, row: str, task: str, results: Results) -> list[Mapping[str, Any]]:
    return [
        metrics
        for cell, metrics in results.items()
        if (cell.table, cell.row, cell.task) == (part.title, row, task)
    ]


def _seconds(part: Table, row: str, task: str, results: Results) -> float:
    runs = _of(part, row, task, results)
    return float(np.mean([m["processor_seconds"] for m in runs]))


def _deviation(scores: Sequence[float]) -> float:
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
