"""The downstream tasks, one file each, and the registry that finds them by name."""

import re
from difflib import get_close_matches

from kebyt5.errors import InputError
from kebyt5.tasks.dp import DP
from kebyt5.tasks.korquad import KorQuAD
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

_WORD = re.compile("[a-z0-9-]+")

TASKS: dict[str, type[Task]] = {
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


def get_task(name: str) -> Task:
    """Returns the task of that name.

    Raises:
        InputError: There is no such task; the message suggests the nearest name.
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
