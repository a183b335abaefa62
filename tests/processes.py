"""Processes for tests, to be killed or told to stop.

Each begins as a copy of a server that has imported everything once: importing PyTorch and
Transformers takes a process of its own ten seconds, and some thirty tests need one.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch

from kebyt5.cli import main

CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "kebyt5.cli",
        "kebyt5.finetuning.finetune",
        "kebyt5.pretraining.pretrain",
        "kebyt5.serving.server",
    ]
)
_NUMBERS = count()
_LOGS = tempfile.TemporaryDirectory(prefix="kebyt5-tests-")


class Process:
    """Like `subprocess.Popen`, for a function in a module of the tests.

    Args:
        target: What it does.
        arguments: Of the target.
        log: Where its output goes, stdout and stderr; a file of its own where not given.
        session: Whether it leads a session, so that those it starts can be signalled with it.
    """

    def __init__(
        self,
        target: Callable[..., None],
        *arguments: object,
        log: Path | None = None,
        session: bool = False,
    ) -> None:
        self.log = log or Path(_LOGS.name, f"{next(_NUMBERS)}.log")
        self._process = CONTEXT.Process(target=_begin, args=(target, arguments, self.log, session))
        self._process.start()
        atexit.register(self._process.kill)  # or pytest would wait for it
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code: None while it runs, negative if a signal ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Returns `returncode`, like `subprocess.Popen`."""
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """Waits for the process to end and returns its exit code."""
        self._process.join(timeout)
        assert self.returncode is not None, f"still running after {timeout} s"
        return self.returncode

    def output(self, timeout: float = 300) -> str:
        """Everything that the process wrote."""
        self.wait(timeout)
        return self.log.read_text()

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the process."""
        self._process.kill()


def command(*arguments: object, log: Path | None = None, session: bool = False) -> Process:
    """Runs `kebyt5` with some arguments."""
    return Process(_command, *map(str, arguments), log=log, session=session)


def program(*arguments: object, log: Path) -> subprocess.Popen[bytes]:
    """Runs `kebyt5` in a new interpreter, for Ray, which does not start in a forked process."""
    command = [sys.executable, "-m", "kebyt5", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def _command(*arguments: str) -> None:
    sys.argv = ["kebyt5", *arguments]
    main()


def _begin(
    target: Callable[..., None], arguments: tuple[object, ...], log: Path, session: bool
) -> None:
    if session:
        os.setsid()
    with open(os.devnull) as nothing, log.open("ab") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    multiprocessing.set_start_method(None, force=True)  # that of this system for what it starts
    torch.set_num_threads(1)
    target(*arguments)
