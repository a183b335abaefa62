"""The allocator of a process keeps freed memory when asked to; kernel caches are limited."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from kebyt5 import keep_memory
kept = keep_memory()
def faults():
    torch.ones(2**24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = [faults() for _ in range(30)]
print(kept, counts[-1] - counts[0])
"""


SHAPES = """
import sys
import torch
from kebyt5.process import limit_kernel_caches
from kebyt5.bench.measure import resident_memory
if sys.argv[1] == "limited":
    limit_kernel_caches()
weight = torch.ones(256, 256)
def multiply(shapes):
    for rows in shapes:
        torch.ops.mkldnn._linear_pointwise(torch.ones(rows, 256), weight, None, "none", [], "")
    return resident_memory()
print(multiply(range(1000, 900, -1)), multiply(range(899, 599, -1)))
"""


def output(program, *arguments, **environment):
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment | {"PATH": "", "PYTHONPATH": ":".join(sys.path), "KEBYT5_COMMAND": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return process.stdout.split()


def run(switch):
    kept, faults = output(PROGRAM, KEBYT5_KEEP_MEMORY=switch)
    return kept == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_large_blocks_are_faulted_in_once():
    kept, faults = run("1")
    kept_switched_off, default_faults = run("0")
    assert kept
    assert not kept_switched_off
    # Not once exactly: what is small may lie in the way the first few times.
    assert faults < default_faults / 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.slow
def test_kernels_of_a_few_shapes_are_kept():
    def growth(which):
        before, after = map(int, output(SHAPES, which))
        return after - before

    assert growth("limited") < growth("free") / 3
