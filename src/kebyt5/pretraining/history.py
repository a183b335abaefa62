"""A log of every step in a file that survives a kill."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from kebyt5.errors import InputError
from kebyt5.output import write_text, writing


class History:
    """Appends one JSON object per line: the loss of every step, and validations between them.

    Lines reach the operating system as they are added, so the process may be killed at any time.
    Steps that a resumed run will repeat are removed first.

    Args:
        path: The file; it need not exist.
        last_step: Last step to keep; later ones and a half-written line are removed.

    Raises:
        InputError: The file cannot be read or written, or lacks a step up to `last_step`.
    """

    def __init__(self, path: str | os.PathLike[str], last_step: int = 0) -> None:
        self.path = Path(path)
        try:
            kept = [entry for entry in read_history(self.path) if entry["step"] <= last_step]
            steps = [entry["step"] for entry in kept if "loss" in entry]
            if steps != list(range(1, last_step + 1)):
                raise InputError(
                    f"{self.path}: does not have every step up to the checkpoint's {last_step};"
                    f" restore the file, remove checkpoint-{last_step} to go on from the one"
                    " before, or begin a new run"
                )
            lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
            write_text(self.path, lines)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        self.seconds = kept[-1]["seconds"] if kept else 0.0
        self._measured = {entry["step"] for entry in kept if "bits_per_byte" in entry}

    def add(self, **entry: Any) -> None:
        """Appends an entry, which has to include `step` and `seconds`.

        A validation that a step had before the run was resumed is not repeated.

        Raises:
            InputError: The file cannot be written, as when the disk is full.
        """
        if "bits_per_byte" in entry and entry["step"] in self._measured:
            return
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        continued = " and continue with --resume"
        with writing(self.path, continued), open(self.path, "a", encoding="utf-8") as file:
            file.write(line)

    def sync(self) -> None:
        """Has the disk hold all entries, before a checkpoint that needs them."""
        with suppress(OSError), open(self.path, "rb") as file:
            os.fsync(file.fileno())


def read_history(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yields the entries of a history, up to a line that a kill cut off or a disk damaged."""
    path = Path(path)
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                return
            if not (line.endswith(b"\n") and _is_entry(entry)):
                return
            yield entry


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("step"), int)
        and isinstance(entry.get("seconds"), int | float)
    )
