"""The score table of a task: runs beside published scores, with notes on comparability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kebyt5.evaluation.evaluate import show_score
from kebyt5.reporting.published import Source, published_scores
from kebyt5.reporting.results import Result, Runs, Summary
from kebyt5.tasks import TASKS, Task


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: Name of the run or the published model.
        kind: `run`, `mean`, `baseline` or `published`.
        cells: The scores as text, in the order of the table's columns; empty if unknown.
        source: Number of the source, from 1; 0 for none.
    """

    name: str
    kind: str
    cells: Sequence[str]
    source: int = 0


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one task."""

    task: Task
    scores: Sequence[str]
    rows: Sequence[Row]
    sources: Sequence[Source]
    notes: Sequence[str]


def score_tables(runs: Runs) -> list[ScoreTable]:
    """Makes a table for each task that has a result, in the order of `TASKS`."""
    tasks = {result.task.name: result.task for result in runs.results}
    return [_table(tasks[name], runs) for name in TASKS if name in tasks]


def _table(task: Task, runs: Runs) -> ScoreTable:
    results = [result for result in runs.results if result.task.name == task.name]
    summaries = [summary for summary in runs.summaries if task.name in summary.tasks]
    published = published_scores(task.name)
    scored = [*(result.metrics["scores"] for result in results), *(p.scores for p in published)]
    scores = list(dict.fromkeys(score for of_row in scored for score in of_row))
    scores.sort(key=lambda score: (score == "unparsed", score != task.main_score))
    sources = list(dict.fromkeys(each.source for each in published))

    rows = [_mean_row(summary, task, scores) for summary in summaries]
    for result in results:
        rows.append(Row(result.name, "run", _cells(result.metrics["scores"], scores)))
        if baseline := result.metrics.get("baseline"):
            name = f"{result.name}: trivial baseline"
            rows.append(Row(name, "baseline", _cells(baseline, scores)))
    for each in published:
        number = sources.index(each.source) + 1
        rows.append(Row(each.model, "published", _cells(each.scores, scores), number))
    return ScoreTable(task, scores, rows, sources, _notes(results, sources))


def _mean_row(summary: Summary, task: Task, scores: Sequence[str]) -> Row:
    values = summary.tasks[task.name]
    cells = [
        f"{values[score]['mean']:.2f} ± {values[score]['std']:.2f}" if score in values else ""
        for score in scores
    ]
    count = len(summary.runs)
    return Row(f"{summary.name}: mean ± standard deviation of {count} runs", "mean", cells)


def _cells(values: Mapping[str, float], scores: Sequence[str]) -> list[str]:
    return [show_score(score, values[score]) if score in values else "" for score in scores]


def _notes(results: Sequence[Result], sources: Sequence[Source]) -> list[str]:
    """Notes which rows of a table are comparable, and which are not."""
    notes = []
    for number, source in enumerate(sources, 1):
        if source.examples is None:
            notes.append(f"Not comparable: [{number}] was measured on {source.data}.")
            continue
        for result in results:
            count = result.metrics["examples"]
            if count != source.examples:
                notes.append(
                    f"Not comparable: [{number}] was measured on all {source.examples:,} examples"
                    f" of {source.data}, {result.name} on {count:,}."
                )
        if any(result.metrics["examples"] == source.examples for result in results):
            notes.append(f"[{number}] compares with runs on {source.data}.")
    for result in results:
        if truncated := result.metrics.get("truncated"):
            notes.append(f"{result.name} shortened {truncated:,} inputs to its length limit.")
    return notes
