"""Comparing the GBST layer with a naive implementation: time and peak memory.

Run as a module, it measures its own memory in a fresh process:
`python -m kebyt5.bench.gbst {ours|naive} LENGTH {forward|backward}`.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kebyt5.bench.measure import Ratio, in_fresh_process, interleave, memory_of, ratio
from kebyt5.bench.naive_gbst import naive_gbst
from kebyt5.models.gbst import GBST
from kebyt5.models.tokenization_kebyt5 import LAST_BYTE, OFFSET, VOCABULARY

BATCH = 4
D_MODEL = 1536
BLOCKS = ((1, 0), (2, 0), (3, 0), (6, 0), (9, 0))
DOWNSAMPLE = 3


class Compared(NamedTuple):
    """The naive layer and ours in one case.

    Attributes:
        naive_seconds: Median seconds of the naive layer.
        our_seconds: Median seconds of ours.
        times: Their ratio.
        naive_memory: Peak memory of the naive layer in bytes, beyond what its process held before.
        our_memory: The same of ours.
    """

    naive_seconds: float
    our_seconds: float
    times: Ratio
    naive_memory: int
    our_memory: int


def make_case(which: str, length: int, backward: bool) -> Callable[[], Tensor]:
    """Makes a function that runs the layer in the base shape, forward or forward and backward."""
    torch.manual_seed(0)
    gbst = GBST(VOCABULARY, D_MODEL, BLOCKS, DOWNSAMPLE)
    ids = torch.randint(OFFSET, LAST_BYTE + 1, (BATCH, length))
    mask = torch.ones_like(ids)

    def run() -> Tensor:
        with torch.set_grad_enabled(backward):
            output, _ = gbst(ids, mask) if which == "ours" else naive_gbst(gbst, ids, mask)
            if backward:
                gbst.zero_grad()
                output.sum().backward()
        return output

    return run


def bench_gbst(length: int, backward: bool, rounds: int) -> Compared:
    """Compares time in one run and memory in fresh processes.

    Args:
        length: Input bytes.
        backward: Whether to run the backward pass too.
        rounds: Interleaved rounds after a warm-up round.
    """
    cases = {which: make_case(which, length, backward) for which in ("naive", "ours")}
    seconds = interleave(cases, rounds)
    naive_memory, our_memory = (
        in_fresh_process(
            "kebyt5.bench.gbst", which, str(length), "backward" if backward else "forward"
        )
        for which in cases
    )
    naive, ours = seconds["naive"], seconds["ours"]
    medians = statistics.median(naive), statistics.median(ours)
    return Compared(*medians, ratio(naive, ours), naive_memory, our_memory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["ours", "naive"])
    parser.add_argument("length", type=int)
    parser.add_argument("mode", choices=["forward", "backward"])
    arguments = parser.parse_args()
    print(memory_of(make_case(arguments.which, arguments.length, arguments.mode == "backward")))
