"""Finds the newest complete checkpoint of a run."""

import json
import logging
import shutil
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from kebyt5.errors import InputError
from kebyt5.training.processes import this_process

_log = logging.getLogger(__name__)


def last_checkpoint(output: Path) -> tuple[int, Path | None]:
    """Returns step and folder of the newest complete checkpoint; removes incomplete ones.

    The trainer writes its state last, so a checkpoint without it was interrupted. Of one that was
    being deleted any file may be missing, and if the machine failed, the end of one.

    Raises:
        InputError: A checkpoint cannot be read, so that it may be complete and is not removed; or
            an incomplete one cannot be removed.
    """
    complete: list[tuple[int, Path]] = []
    for folder in output.glob("checkpoint-*"):
        if not (folder.is_dir() and folder.name.removeprefix("checkpoint-").isdecimal()):
            continue
        _require_readable(folder)
        try:
            state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            _require_whole(folder)
            complete.append((state["global_step"], folder))
        except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
            if this_process().is_main_process:
                _log.warning("%s: incomplete, so removed: %s", folder, error)
                _remove(folder)
    return max(complete, default=(0, None))


def _require_readable(folder: Path) -> None:
    path = folder
    try:
        for path in list(filter(Path.is_file, folder.iterdir())):
            with open(path, "rb") as file:
                file.read(1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; let this user read it, or try again"
        ) from error


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: an incomplete checkpoint that this user may not remove:"
            f" {error.strerror or error}; remove it"
        ) from error


def _require_whole(folder: Path) -> None:
    for pattern in _parts(folder):
        if not any(folder.glob(pattern)):
            raise ValueError(f"{pattern} is missing")
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt"):
            pass
    for suffix in ("pt", "pth", "distcp"):
        for path in folder.rglob(f"*.{suffix}"):
            if not zipfile.is_zipfile(path):
                raise ValueError(f"{path.name} is cut off")


def _parts(folder: Path) -> list[str]:
    """Patterns of the files that a checkpoint consists of, besides the trainer's state."""
    parts = ["rng_state*.pth"]
    if not is_sharded(folder):
        return [*parts, "*.safetensors", "optimizer.pt", "scheduler.pt"]
    if any(folder.glob("global_step*")):  # DeepSpeed, which may hold the scheduler itself
        return [*parts, "global_step*/*"]
    parts.append("scheduler.pt")
    if any(folder.glob("*.bin")):  # FSDP with the whole state in one file
        return [*parts, "pytorch_model_fsdp*.bin", "optimizer*.bin"]
    names = ("pytorch_model_fsdp_*", "optimizer_*")
    return [*parts, *(f"{name}/{part}" for name in names for part in (".metadata", "*.distcp"))]


def is_sharded(checkpoint: Path) -> bool:
    """Whether FSDP or DeepSpeed wrote a checkpoint, which then has files of their own."""
    patterns = ("pytorch_model_fsdp*", "optimizer_*", "optimizer.bin", "global_step*")
    return any(any(checkpoint.glob(pattern)) for pattern in patterns)
