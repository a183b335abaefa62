"""Finds the newest complete checkpoint of a run."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from kebyt5.errors import InputError
from kebyt5.training.processes import this_process


def last_checkpoint(output: Path) -> tuple[int, Path | None]:
    """Returns step and folder of the newest complete checkpoint; removes incomplete ones.

    The trainer writes its state last, so a checkpoint without it was interrupted. If the machine
    failed, the end of a file may be missing instead.

    Raises:
        InputError: A checkpoint cannot be read. It may be complete, so it is not removed.
    """
    complete: list[tuple[int, Path]] = []
    for folder in output.glob("checkpoint-*"):
        if not (folder.is_dir() and folder.name.removeprefix("checkpoint-").isdecimal()):
            continue
        try:
            _require_readable(folder)
            state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            _require_whole(folder)
            complete.append((state["global_step"], folder))
        except InputError:
            raise
        except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
            if this_process().is_main_process:
                print(f"{folder}: incomplete, so removed: {error}", file=sys.stderr)
                shutil.rmtree(folder)
    return max(complete, default=(0, None))


def _require_readable(folder: Path) -> None:
    for path in filter(Path.is_file, folder.iterdir()):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read: {error.strerror}; let this user read it, or try again"
            ) from error


def _require_whole(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt"):
            pass
    for path in [*folder.glob("*.pt"), *folder.glob("*.pth")]:
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path.name} is cut off")


__all__ = ["last_checkpoint"]
