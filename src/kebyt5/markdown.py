"""Markdown that shows text verbatim, and rows of tables."""

import re
from collections.abc import Iterable

from kebyt5.errors import one_line

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#&$])")
_BACKTICKS = re.compile("`+")


def plain(text: object) -> str:
    """Escapes text for a paragraph or a cell, on one line."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def code(text: object) -> str:
    """Formats text as code in a paragraph or a cell, on one line."""
    line = one_line(text).replace("|", "\\|")
    ticks = "`" * (_longest_run(line) + 1)
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{blank}{line}{blank}{ticks}"


def row(cells: Iterable[object]) -> str:
    """Joins cells, which already are Markdown, to a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def fence(text: str) -> str:
    """Formats text as a fenced code block, keeping its lines."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
