"""The downstream tasks, one file each, found by name."""

from difflib import get_close_matches

from kebyt5.errors import InputError
from kebyt5.tasks.ner import NER
from kebyt5.tasks.task import Example, Parsed, Task

TASKS: dict[str, type[Task]] = {
    "ner": NER,
}


def get_task(name: str) -> Task:
    """Returns the task of that name.

    Raises:
        InputError: No such task; the message suggests the nearest name.
    """
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1, cutoff=0.0)
        raise InputError(
            f"unknown task {name!r}, did you mean {near[0]!r}? Known: {', '.join(TASKS)}"
        )
    return TASKS[name]()


__all__ = ["TASKS", "Example", "Parsed", "Task", "get_task"]
