"""Timing alternatives side by side, and the memory of a fresh process."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Ratio(NamedTuple):
    """How many times as long one alternative took as another, over rounds of one run."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def interleave(cases: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Runs every case once a round, after one round to warm up.

    Shared machines drift; what is compared has to run under the same conditions.

    Returns:
        Seconds per round for each case.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> Ratio:
    """The ratio of two cases, round by round."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def peak_memory(module: str, *arguments: str) -> int:
    """Runs `python -m module arguments` and returns the bytes that it prints last."""
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=True
    )
    return int(process.stdout.split()[-1])


def memory_of(case: Callable[[], Any]) -> int:
    """How many bytes more than before this process holds at most while it runs a case.

    Reads Linux's account of the process, whose peak can be reset: importing PyTorch alone has a
    higher one than many a case.
    """
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    case()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


__all__ = ["Ratio", "interleave", "memory_of", "peak_memory", "ratio"]
