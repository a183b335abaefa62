"""The downstream tasks, one file each, and the registry that finds them by name."""

import re
import warnings
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from itertools import chain

from kebyt5.errors import InputError, one_line
from kebyt5.tasks.dp import DP
from kebyt5.tasks.korquad import KorQuAD
from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.mrc import MRC
from kebyt5.tasks.ner import NER
from kebyt5.tasks.nli import NLI
from kebyt5.tasks.nsmc import NSMC
from kebyt5.tasks.pawsx import PAWSX
from kebyt5.tasks.relation import RE
from kebyt5.tasks.seq2seq import Seq2Seq
from kebyt5.tasks.sts import STS
from kebyt5.tasks.task import Example, Parsed, Task
from kebyt5.tasks.wos import WOS
from kebyt5.tasks.ynat import YNAT

ENTRY_POINTS = "kebyt5.tasks"
"""Group of entry points by which another package declares tasks."""

_WORD = re.compile("[a-z0-9-]+")

_OWN: dict[str, type[Task]] = {
    "ynat": YNAT,
    "ner": NER,
    "dp": DP,
    "mrc": MRC,
    "wos": WOS,
    "re": RE,
    "nli": NLI,
    "sts": STS,
    "nsmc": NSMC,
    "pawsx": PAWSX,
    "korquad": KorQuAD,
    "seq2seq": Seq2Seq,
}


class _Tasks(Mapping[str, type[Task]]):
    """The tasks of this package, and those that other packages declare as entry points.

    The latter are imported when they are asked for, as they import this package. One that cannot be
    used is left out of the list, with a warning, and refused by its name.
    """

    def __getitem__(self, name: str) -> type[Task]:
        return _OWN[name] if name in _OWN else _load(_declared()[name])

    def __iter__(self) -> Iterator[str]:
        return chain(_OWN, _usable())

    def __len__(self) -> int:
        return len(_OWN) + len(_usable())

    def __contains__(self, name: object) -> bool:
        return name in _OWN or name in _declared()


@cache
def _declared() -> dict[str, EntryPoint]:
    found = {each.name: each for each in entry_points(group=ENTRY_POINTS)}
    return {name: found[name] for name in sorted(found.keys() - _OWN.keys())}


@cache
def _usable() -> list[str]:
    names = []
    for name, declared in _declared().items():
        try:
            _load(declared)
        except InputError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
        else:
            names.append(name)
    return names


def _load(declared: EntryPoint) -> type[Task]:
    """Imports the task of another package.

    Raises:
        InputError: The import fails, or finds something else than a whole task of that name.
    """
    place = f"task {declared.name} ({declared.value})"
    try:
        task = declared.load()
    except Exception as error:  # whatever the module does
        raise InputError(f"{place}: cannot be imported: {one_line(error)}") from error
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise InputError(f"{place}: has to be a subclass of Task")
    needed = ("name", "title", "input_fields", "main_score")
    missing = [attribute for attribute in needed if not hasattr(task, attribute)]
    if issubclass(task, LabelTask) and not task.labels:
        missing.append("labels")
    if missing := missing + sorted(task.__abstractmethods__):
        raise InputError(f"{place}: has no {', '.join(missing)}; define them")
    if task.name != declared.name:
        raise InputError(f"{place}: its `name` is {task.name!r}; both have to be the same")
    return task


TASKS: Mapping[str, type[Task]] = _Tasks()
"""All tasks by name."""


def get_task(name: str) -> Task:
    """Returns the task of that name.

    Raises:
        InputError: There is no such task, and the message suggests the nearest name; or it is of
            another package and cannot be imported.
    """
    if name not in TASKS:
        raise InputError(
            f"unknown task {name!r}, did you mean {_nearest(name)!r}? Known: {', '.join(TASKS)}"
        )
    return TASKS[name]()


def _nearest(name: str) -> str:
    """Finds the task whose name, or the part of its title in brackets, is most similar."""
    known = {task: task for task in TASKS}
    for task, kind in TASKS.items():
        for word in _WORD.findall(kind.title.lower().partition("(")[2]):
            known.setdefault(word, task)
            known.setdefault(word.removeprefix("klue-"), task)
    near, *_ = get_close_matches(name.lower(), known, n=1, cutoff=0.0)
    return known[near]


__all__ = ["TASKS", "Example", "Parsed", "Task", "get_task"]
