"""What several commands print."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_scores(metrics: Mapping[str, Any], title: str) -> None:
    """Prints scores in percent, beside the baseline's where there is one."""
    table = Table(title=f"{metrics['task']} on {title}, {metrics['examples']} examples")
    table.add_column("score")
    table.add_column("model", justify="right")
    baseline = metrics["baseline"]
    if baseline:
        table.add_column("baseline", justify="right")
    for name, value in metrics["scores"].items():
        cells = [f"{value:.2f}"] + ([f"{baseline[name]:.2f}"] if baseline else [])
        table.add_row(name, *cells)
    Console().print(table)
    if metrics["truncated"]:
        Console().print(f"{metrics['truncated']} inputs were cut to the length limit.")


__all__ = ["print_scores"]
