"""What happened at every step, in a file that survives a kill."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kebyt5.errors import InputError
from kebyt5.output import write_text


class History:
    """A JSON object a line: the loss of every step, and the validations between them.

    A line reaches the operating system when it is added, so that a process may be killed at any
    time. What a resumed run is about to do again is cut off first.

    Args:
        path: The file; it need not exist.
        last_step: Steps after this one are cut off, as is a half-written line.

    Raises:
        InputError: The file cannot be read or written to, or has no entry of a step up to that.
    """

    def __init__(self, path: str | os.PathLike[str], last_step: int = 0) -> None:
        self.path = Path(path)
        try:
            kept = [entry for entry in read_history(self.path) if entry["step"] <= last_step]
            steps = [entry["step"] for entry in kept if "loss" in entry]
            if steps != list(range(1, last_step + 1)):
                raise InputError(
                    f"{self.path}: does not have every step up to the checkpoint's {last_step};"
                    " bring the file back or begin a new run"
                )
            lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
            write_text(self.path, lines)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        self.seconds = kept[-1]["seconds"] if kept else 0.0

    def add(self, **entry: Any) -> None:
        """Appends an entry; it has `step` and `seconds`.

        Raises:
            InputError: The disk is full.
        """
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written: {error.strerror}; make room and go on with"
                " --resume"
            ) from error


def read_history(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yields the entries of a history; a line that a kill cut off ends it."""
    path = Path(path)
    if not path.is_file():
        return
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                return
            if not line.endswith("\n"):
                return
            yield entry


__all__ = ["History", "read_history"]
