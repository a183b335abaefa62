"""A replica sets up its process in the same way as the command."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
import json
import os
import resource
import torch
from kebyt5.process import KERNEL_CACHES
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.replica import Replica

def faults():
    torch.ones(2**24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def inside(model):
    return torch.get_num_threads(), (torch.tensor([1e-40]) * 1).item()

replica = Replica("tiny", "tiny", ServeOptions(), 3)
threads, denormal = asyncio.run(replica._service.worker.call(inside))
counts = [faults() for _ in range(30)]
kernels = [os.environ.get(name) for name in KERNEL_CACHES]
print(json.dumps([threads, torch.get_num_threads(), denormal, *kernels, counts[-1] - counts[0]]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_its_process_is_set_up_to_compute():
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *found, faults = json.loads(process.stdout.splitlines()[-1])
    assert found == [3, 1, 0.0, "32", "32"]
    # Of 4 KiB a page each of the 29 tensors would take 16,384 of them.
    assert faults < 29 * 16_384 / 3
