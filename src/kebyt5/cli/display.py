"""Output that several commands share."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def warn_of_another_task(checkpoint: str, task: str) -> None:
    """Warns on stderr of a checkpoint that was not fine-tuned for a task, if it says so."""
    from kebyt5.finetuning.config import finetuned_tasks
    from kebyt5.models.loading import SHIPPED

    known = finetuned_tasks(checkpoint)
    if checkpoint in SHIPPED:
        cause = "is pretrained, not fine-tuned for any task; start with kebyt5 finetune --help"
    elif known and task not in known:
        cause = f"was fine-tuned for {', '.join(known)}, not for {task}; expect no sensible answer"
    else:
        return
    print(f"warning: {checkpoint} {cause}", file=sys.stderr)


def print_scores(metrics: Mapping[str, Any], title: str) -> None:
    """Prints scores in percent, with those of the baseline and those under noise, if any."""
    from kebyt5.evaluation.evaluate import show_score

    table = Table()
    table.add_column("score")
    columns = [("model", metrics["scores"])]
    if metrics["baseline"]:
        columns.append(("baseline", metrics["baseline"]))
    for row in metrics.get("noise", [])[1:]:
        columns.append((f"noise {row['rate']:g}", row["scores"]))
    for name, _ in columns:
        table.add_column(name, justify="right")
    for name in metrics["scores"]:
        cells = [show_score(name, scores[name]) if name in scores else "" for _, scores in columns]
        table.add_row(name, *cells)
    console = Console()
    # Above the table, as a title of its own would be broken to the table's width.
    place = Text(f"{metrics['task']} on {title}, {metrics['examples']} examples")
    console.print(place, soft_wrap=True)
    console.print(table)
    for line in limit_lines(metrics["truncated"], metrics["cut"]):
        console.print(line)
    if metrics["generation"]:
        console.print(generation_line(metrics["generation"]), highlight=False)


def limit_lines(truncated: int, cut: int) -> list[str]:
    """Says how many inputs and answers were too long, one line for each."""
    lines = []
    if truncated:
        lines.append(f"{truncated} inputs exceeded the limit: shortened, or read in windows.")
    if cut:
        lines.append(f"{cut} answers end at their length limit; --max-new-bytes raises it.")
    return lines


def generation_line(generation: Mapping[str, Any]) -> str:
    """Formats how answers were generated (`Predictions.generation`) as one line."""
    line = "Generated " + ("under the task's constraint" if generation["constrained"] else "freely")
    if not generation.get("bytes"):
        return f"{line}."
    shares = ", ".join(
        f"{100 * generation[kind] / generation['bytes']:.0f} % {kind}"
        for kind in ("decided", "copied", "forced")
    )
    passes = f"{generation['passes']:,} passes"
    if generation["bytes_per_pass"]:
        passes += f", {generation['bytes_per_pass']:.1f} a pass"
    return f"{line}: {generation['bytes']:,} bytes in {passes}; {shares}."


def print_summary(summary: Mapping[str, Any]) -> None:
    """Prints mean and standard deviation of the scores of repeated runs."""
    table = Table(title=f"mean ± standard deviation of {len(summary['runs'])} runs")
    table.add_column("task")
    table.add_column("score")
    table.add_column("percent", justify="right")
    for task, scores in summary["tasks"].items():
        for name, value in scores.items():
            table.add_row(task, name, f"{value['mean']:.2f} ± {value['std']:.2f}")
    Console().print(table)
