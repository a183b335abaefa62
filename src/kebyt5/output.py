"""Writing outputs atomically: a file or folder is complete or absent, never half written."""

import errno
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kebyt5.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
"""Dots per inch of figures."""

_KOREAN_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic")

_INCOMPLETE = ".incomplete-"
"""How the names of temporary folders begin."""


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file atomically: under a temporary name that is then renamed.

    Raises:
        InputError: The folder does not exist or cannot be written to.
    """
    with _whole_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes indented JSON atomically."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def make_output_folder(path: str | os.PathLike[str], may_continue: bool = False) -> Path:
    """Creates an output folder, or accepts an existing one that is empty or may be continued.

    Args:
        path: Path of the folder.
        may_continue: Whether the folder may already contain files.

    Raises:
        InputError: It already contains files, is a file, or cannot be created or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be used as an output folder: {error.strerror}") from error
    if not may_continue and any(not p.name.startswith(_INCOMPLETE) for p in path.iterdir()):
        raise InputError(f"{path}: the output folder is not empty; name another one or empty it")
    return path


@contextmanager
def only_process(folder: Path, work: str) -> Iterator[None]:
    """Keeps others on this machine that ask the same out of a folder, where systems can lock files.

    Args:
        folder: An existing folder.
        work: What is done there, for the message.

    Raises:
        InputError: Another process is at work in the folder.
    """
    descriptor = os.open(folder, os.O_RDONLY) if find_spec("fcntl") else None
    try:
        if descriptor is not None:
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = f"{folder}: another {work} is at work here; stop it or wait for its end"
                raise InputError(message) from error
            except OSError:  # a file system without locks
                pass
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG atomically.

    Raises:
        InputError: The folder does not exist or cannot be written to.
    """
    content = png(figure)
    with _whole_file(Path(path)) as temporary:
        temporary.write_bytes(content)


def png(figure: "Figure") -> bytes:
    """Renders a figure as a PNG file in memory, with a font that has Hangul if there is one."""
    from matplotlib.font_manager import get_font_names
    from matplotlib.text import Text

    known = set(get_font_names())
    fonts = ["DejaVu Sans", *(font for font in _KOREAN_FONTS if font in known)]
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def require_writable(path: Path) -> None:
    """Checks that a file can be written, before work is done whose result would be lost.

    Raises:
        InputError: Its folder does not exist or cannot be written to, or the path exists and is
            not a regular file.
    """
    with writing(path):
        folder = _regular(path).parent
        if not folder.is_dir():
            raise InputError(f"{path}: cannot be written: give a file in a folder that exists")
        with tempfile.TemporaryFile(dir=folder):
            pass


def _regular(path: Path) -> Path:
    """Follows a symbolic link to the file to write; refuses devices, pipes and folders."""
    if path.is_symlink():
        try:
            path = path.resolve()
        except RuntimeError as error:  # in Python 3.13 an OSError
            raise InputError(f"{path}: cannot be written: {error}; name another one") from error
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be written: it is not a regular file; name another one")
    return path


@contextmanager
def writing(path: Path, then: str = "") -> Iterator[None]:
    """Turns an error of the operating system into one that names the path and the remedy.

    Args:
        path: What the block writes.
        then: What to do once there is room, if the disk is full; begins with a blank.

    Raises:
        InputError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        remedy = f"; make room{then}" if is_disk_full(error) else ""
        raise InputError(f"{path}: cannot be written: {error.strerror or error}{remedy}") from error


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that there is no room on the disk, or none for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path that is renamed to `path` when the block ends without an error."""
    with writing(path):
        place = _regular(path)
        temporary = place.with_name(f".{place.name}.{os.getpid()}.incomplete")
        try:
            yield temporary
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Makes an output folder that `whole_folder` fills; on an error nothing of it is left.

    Raises:
        InputError: It already contains files, or cannot be created or written to.
    """
    made = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
    make_output_folder(path)
    try:
        with whole_folder(path) as temporary:
            yield temporary
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder whose content moves to `path` when the block ends without an error.

    `metrics.json` moves last, so where it exists, everything else does too. All files get the
    permissions that the user's umask gives new files: safetensors would make weights readable by
    their owner only, and not, for example, by the user of a container that serves them.

    Raises:
        InputError: What the block writes cannot be written, for example since the disk is full.
    """
    from safetensors import SafetensorError

    path = Path(path)
    for left in path.glob(f"{_INCOMPLETE}*"):  # by a killed process
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path, prefix=_INCOMPLETE) as temporary:
        try:
            with writing(path):
                yield Path(temporary)
        except SafetensorError as error:  # which says in its text only what happened
            raise InputError(f"{path}: cannot be written: {error}; make room") from error
        _set_default_permissions(Path(temporary))
        items = Path(temporary).iterdir()
        for item in sorted(items, key=lambda item: (item.name == "metrics.json", item.name)):
            if item.is_dir():  # `replace` cannot overwrite a folder that a killed run left
                shutil.rmtree(path / item.name, ignore_errors=True)
            item.replace(path / item.name)


def _set_default_permissions(folder: Path) -> None:
    """Gives all files in a folder the permissions that the user's umask gives new files."""
    with tempfile.TemporaryDirectory(dir=folder) as probe:
        new = Path(probe, "new")
        new.touch()
        permissions = stat.S_IMODE(new.stat().st_mode)
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with suppress(OSError):  # some file systems have no permissions
                file.chmod(permissions)
