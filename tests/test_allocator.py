"""Freed memory stays with the process when it is asked to, and only then."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from kebyt5 import keep_memory
kept = keep_memory()
def faults():
    torch.ones(2**24)  # 64 MiB, 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = [faults() for _ in range(6)]
print(kept, counts[-1] - counts[-3])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize("switch", ["1", "0"])
def test_large_blocks_are_faulted_in_once(switch):
    environment = {"KEBYT5_KEEP_MEMORY": switch, "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    kept, faults = process.stdout.split()
    assert kept == str(switch == "1")
    if switch == "1":
        assert int(faults) < 1000
    else:
        assert int(faults) > 2 * 30  # also where pages are huge ones
