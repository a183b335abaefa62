"""`kebyt5 tasks`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

tasks = App(name="tasks", help="List the tasks, or show examples as the model sees them.")


@tasks.default
def list_tasks() -> None:
    """List the tasks with the files they read, their input fields and their main score."""
    from kebyt5.tasks import TASKS

    table = Table("name", "task", "files", "input fields", "main score")
    for name, task in TASKS.items():
        fields = ", ".join(task.input_fields)
        table.add_row(name, task.title, task.formats, fields, task.main_score)
    Console().print(table)


@tasks.command
def show(
    task: str,
    *,
    data: Path,
    number: Annotated[PositiveInt, Parameter(name=["--number", "-n"])] = 3,
) -> None:
    r"""Show examples of a data file as the model sees them: input, target, and how it is read.

    ```bash
    kebyt5 tasks show dp --data klue-dp-v1.1_dev.tsv -n 1
    ```

    Args:
        task: Name of the task; `kebyt5 tasks` lists them.
        data: Data in the task's official file format.
        number: Number of examples to show.
    """
    from kebyt5.tasks import get_task

    the_task = get_task(task)
    console = Console()
    for example in list(the_task.read(data))[:number]:
        target = the_task.target_text(example)
        reading = the_task.show(the_task.parse(target, example), example)
        console.rule(Text(f"{example.id} ({example.place})"))
        for title, text in (
            ("input", the_task.input_text(example)),
            ("target", target),
            ("read as", reading),
        ):
            console.print(Panel(Text(text), title=title, title_align="left"))
