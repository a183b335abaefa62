"""Progress of long work, on stderr where somebody sees it, so that results alone are on stdout."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import rich.progress
from rich.console import Console

T = TypeVar("T")


def progress_bars(is_shown: bool = True) -> rich.progress.Progress:
    """Bars that vanish when the work is done; none where stderr is no terminal."""
    console = Console(stderr=True)
    hidden = not (is_shown and console.is_terminal)
    return rich.progress.Progress(console=console, transient=True, disable=hidden)


def track(items: Sequence[T], title: str) -> Iterable[T]:
    """Yields items under such a bar, under none where there is no title."""
    with progress_bars(bool(title)) as bars:
        yield from bars.track(items, description=title)


__all__ = ["progress_bars", "track"]
