"""Measuring time in interleaved rounds, and memory in fresh processes."""

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
    """The time of one alternative divided by that of another: median and range over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def interleave_parts(
    cases: Mapping[str, Callable[[], Mapping[str, float]]],
    rounds: int,
    on_run: Callable[[str], None] = lambda name: None,
    warm_up: bool = True,
) -> dict[str, Rounds]:
    """Runs every case once per round, after a warm-up round.

    The speed of shared machines drifts, so cases that are compared have to run at the same time.

    Args:
        cases: Cases by name; each times its parts itself and returns their seconds.
        rounds: Number of rounds that count.
        on_run: Called with the name of a case before it runs.
        warm_up: False if the cases have run already.

    Returns:
        For each case, the seconds per round of its parts.
    """
    seconds: dict[str, Rounds] = {name: {} for name in cases}
    for number in range(not warm_up, rounds + 1):
        for name, case in cases.items():
            on_run(name)
            for part, value in case().items():
                if number:
                    seconds[name].setdefault(part, []).append(value)
    return seconds


def interleave(
    cases: Mapping[str, Callable[[], Any]],
    rounds: int,
    on_run: Callable[[str], None] = lambda name: None,
    warm_up: bool = True,
) -> dict[str, list[float]]:
    """Runs every case once per round, after a warm-up round, and times it as a whole.

    Args:
        cases: Cases by name.
        rounds: Number of rounds that count.
        on_run: Called with the name of a case before it runs; its time does not count.
        warm_up: False if the cases have run already.

    Returns:
        For each case, the seconds per round.
    """
    whole = {name: lambda case=case: {"whole": seconds_of(case)} for name, case in cases.items()}
    timed = interleave_parts(whole, rounds, on_run, warm_up)
    return {name: parts["whole"] for name, parts in timed.items()}


def seconds_of(case: Callable[[], Any]) -> float:
    """Runs a case and returns the seconds it takes."""
    began = time.perf_counter()
    case()
    return time.perf_counter() - began


def ratio(slow: list[float], fast: list[float]) -> Ratio:
    """Computes the ratio of two cases, round by round."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def in_fresh_process(module: str, *arguments: str) -> Any:
    """Runs `python -m module arguments` and returns the JSON value in its last line of output.

    Raises:
        FreshProcessError: The process failed, or was killed, for example for lack of memory.
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
    """Runs a case and returns by how many bytes the memory of this process grows at most."""
    before = resident_memory()
    return peak_memory_of(case) - before


def peak_memory_of(case: Callable[[], Any]) -> int:
    """Runs a case and returns the peak memory of this process in bytes.

    Linux's record of the peak is reset first, since merely importing PyTorch has a higher peak than
    many cases.
    """
    Path("/proc/self/clear_refs").write_text("5")
    case()
    return _status("VmHWM")


def resident_memory(process_id: int | None = None) -> int:
    """Returns the resident memory of a process in bytes; by default of this one."""
    return _status("VmRSS", process_id)


def processor_seconds(process_id: int) -> float:
    """Returns the processor time that a process has used, all its threads together."""
    # Fields 14 and 15 of proc(5), counted after the name, which may contain anything.
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def return_freed_memory() -> None:
    """Returns freed memory to the kernel, before other processes run that need it."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str, process_id: int | None = None) -> int:
    lines = Path(f"/proc/{process_id or 'self'}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024
