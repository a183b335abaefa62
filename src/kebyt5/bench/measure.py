"""Timing alternatives side by side, and the memory of a fresh process."""

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

Rounds = dict[str, list[float]]
"""Seconds per round of each part of a case."""


class Ratio(NamedTuple):
    """How many times as long one alternative took as another, over rounds of one run."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def interleave_parts(
    cases: Mapping[str, Callable[[], Mapping[str, float]]],
    rounds: int,
    on_run: Callable[[str], None] = lambda name: None,
) -> dict[str, Rounds]:
    """Runs every case once a round, after one round to warm up.

    Shared machines drift; what is compared has to run under the same conditions.

    Args:
        cases: Each takes the time of its parts itself and returns their seconds.
        rounds: How many rounds count.
        on_run: Called with the name of a case before it runs.

    Returns:
        For each case the seconds per round of its parts.
    """
    seconds: dict[str, Rounds] = {name: {} for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            on_run(name)
            for part, value in case().items():
                if number:
                    seconds[name].setdefault(part, []).append(value)
    return seconds


def interleave(cases: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """As `interleave_parts`, for cases that are timed as a whole.

    Returns:
        Seconds per round for each case.
    """
    whole = {name: lambda case=case: {"whole": seconds_of(case)} for name, case in cases.items()}
    return {name: parts["whole"] for name, parts in interleave_parts(whole, rounds).items()}


def seconds_of(case: Callable[[], Any]) -> float:
    """How long it takes to run a case."""
    began = time.perf_counter()
    case()
    return time.perf_counter() - began


def ratio(slow: list[float], fast: list[float]) -> Ratio:
    """The ratio of two cases, round by round."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def in_fresh_process(module: str, *arguments: str) -> Any:
    """Runs `python -m module arguments` and returns the JSON value in its last line of output.

    Raises:
        FreshProcessError: It failed, or was ended from outside, as by a lack of memory.
    """
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True
    )
    if process.returncode:
        raise FreshProcessError(process.returncode, process.stderr)
    return json.loads(process.stdout.splitlines()[-1])


class FreshProcessError(RuntimeError):
    """A fresh process ended without a result.

    Attributes:
        was_killed: Whether a signal ended it.
    """

    def __init__(self, code: int, output: str) -> None:
        super().__init__(f"exit code {code}\n{output}")
        self.was_killed = code < 0


def memory_of(case: Callable[[], Any]) -> int:
    """How many bytes more than before this process holds at most while it runs a case."""
    before = resident_memory()
    return peak_memory_of(case) - before


def peak_memory_of(case: Callable[[], Any]) -> int:
    """How many bytes this process holds at most while it runs a case, all that it is included.

    Reads Linux's account of the process, whose peak can be reset: importing PyTorch alone has a
    higher one than many a case.
    """
    Path("/proc/self/clear_refs").write_text("5")
    case()
    return _status("VmHWM")


def resident_memory(process_id: int | None = None) -> int:
    """How many bytes a process holds now; this one where none is given."""
    return _status("VmRSS", process_id)


def processor_seconds(process_id: int) -> float:
    """The processor time that a process has taken, all its threads together."""
    # Behind the name, which may have anything in it; then fields 14 and 15 of proc(5).
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def return_freed_memory() -> None:
    """Hands freed memory back to the kernel, as before other processes run that need it."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # there is no glibc
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str, process_id: int | None = None) -> int:
    lines = Path(f"/proc/{process_id or 'self'}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


__all__ = [
    "FreshProcessError",
    "Ratio",
    "Rounds",
    "in_fresh_process",
    "interleave",
    "interleave_parts",
    "memory_of",
    "peak_memory_of",
    "processor_seconds",
    "ratio",
    "resident_memory",
    "return_freed_memory",
    "seconds_of",
]
