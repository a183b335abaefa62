"""Progress bars on stderr, so that stdout carries results only."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import rich.progress
from rich.console import Console

T = TypeVar("T")


def progress_bars(is_shown: bool = True) -> rich.progress.Progress:
    """Makes progress bars that vanish when the work is done; hidden if stderr is not a terminal."""
    console = Console(stderr=True)
    hidden = not (is_shown and console.is_terminal)
    return rich.progress.Progress(console=console, transient=True, disable=hidden)


def track(items: Sequence[T], title: str) -> Iterable[T]:
    """Yields items under a progress bar; an empty title shows none."""
    with progress_bars(bool(title)) as bars:
        yield from bars.track(items, description=title)
