"""Fixtures of the commands."""

import errno
import sys
from typing import TextIO

import pytest


@pytest.fixture
def no_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Makes printing fail, as when stdout is closed or its disk is full."""
    kind = type(sys.stdout)  # there is another one when the test itself begins
    write = kind.write

    def refuse(stream: TextIO, text: str) -> int:
        if stream is sys.stdout:
            raise OSError(errno.ENOSPC, "nothing can be printed")
        return write(stream, text)

    monkeypatch.setattr(kind, "write", refuse)
