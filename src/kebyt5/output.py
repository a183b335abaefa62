"""Outputs that are whole or absent."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kebyt5.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file under a temporary name and renames it, so that it is never half there.

    Raises:
        InputError: The folder does not exist or cannot be written to.
    """
    with _whole_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes JSON that a person can read, whole or not at all."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def make_output_folder(path: str | os.PathLike[str], may_continue: bool = False) -> Path:
    """Makes an output folder, or takes an empty one, or one that a run may continue in.

    Args:
        path: Of the folder.
        may_continue: Whether there may be something in it.

    Raises:
        InputError: It holds files already, is a file, or cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be used as output folder: {error.strerror}") from error
    if not may_continue and any(path.iterdir()):
        holds = "is not empty; name another one or empty it"
        if any(path.glob("checkpoint-*")) and not (path / "metrics.json").exists():
            holds = "holds a training run that was stopped; --resume goes on with it"
        raise InputError(f"{path}: the output folder {holds}")
    return path


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Writes a picture as PNG, whole or not at all.

    Raises:
        InputError: The folder does not exist or cannot be written to.
    """
    with _whole_file(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def require_writable(path: Path) -> None:
    """Refuses a file that could not be written, before work is done that would be lost.

    Raises:
        InputError: Its folder does not exist or cannot be written to, or it is no regular file.
    """
    with _as_input_error(path):
        folder = _regular(path).parent
        if not folder.is_dir():
            raise InputError(f"{path}: cannot be written: give a file in a folder that exists")
        with tempfile.TemporaryFile(dir=folder):
            pass


def _regular(path: Path) -> Path:
    """Where a file is to be put: what a link leads to, and no device, pipe or folder."""
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be written: no regular file; give the name of one")
    return path


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # the latter for links that lead to each other
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be written: {cause}") from error


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary name of a file that is renamed when the block ends without error."""
    with _as_input_error(path):
        place = _regular(path)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.incomplete")
    try:
        yield temporary
        temporary.replace(place)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder whose content moves to `path` when the block ends without error.

    `metrics.json` moves last: where it stands, the rest does too. All files may be read by whoever
    may read a new file of this user's: safetensors keeps weights from everybody else, such as the
    user of a container that is to serve them.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path, prefix=".incomplete-") as temporary:
        yield Path(temporary)
        _give_usual_rights(Path(temporary))
        items = Path(temporary).iterdir()
        for item in sorted(items, key=lambda item: (item.name == "metrics.json", item.name)):
            if item.is_dir():  # a folder does not replace one that a killed run left
                shutil.rmtree(path / item.name, ignore_errors=True)
            item.replace(path / item.name)


def _give_usual_rights(folder: Path) -> None:
    """Gives all files in a folder the rights that the user's umask leaves to a new one."""
    with tempfile.TemporaryDirectory(dir=folder) as probe:
        usual = Path(probe, "new")
        usual.touch()
        rights = stat.S_IMODE(usual.stat().st_mode)
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with suppress(OSError):  # some file systems have no rights to give
                file.chmod(rights)


__all__ = [
    "make_output_folder",
    "require_writable",
    "save_figure",
    "whole_folder",
    "write_json",
    "write_text",
]
