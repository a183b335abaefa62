"""`kebyt5 tasks`."""

from rich.console import Console
from rich.table import Table


def tasks() -> None:
    """List the tasks, what they read and the score that counts."""
    from kebyt5.tasks import TASKS

    table = Table("name", "task", "input fields", "main score")
    for name, task in TASKS.items():
        table.add_row(name, task.title, ", ".join(task.input_fields), task.main_score)
    Console().print(table)
