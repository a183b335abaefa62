"""Finding, opening and decompressing files, local or remote."""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any, BinaryIO, Self, cast

from fsspec import AbstractFileSystem
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from kebyt5.corpus.readers.encodings import reads_as_utf8
from kebyt5.errors import InputError, one_line

_TAR = re.compile(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_ARCHIVE = re.compile(r"\.(7z|rar|zip|part\d+)$", re.IGNORECASE)
_MAGIC = re.compile(r"[*?[]")
_NAME_IS_UTF8 = 0x800
_CHUNK = 1 << 20
_DAMAGED = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
)


def find_files(path: str) -> list[str]:
    """Lists the files at a path, in a folder or matching a pattern, sorted; also on S3 or the hub.

    A folder that matches a pattern stands for all files in it. Hidden files are left out. Names
    match in composed and decomposed form (NFD, as macOS may write Korean).

    Raises:
        InputError: There are no such files, or the path cannot be reached.
    """
    try:
        filesystem, _ = located(path)
        names = [name for spelled in _spellings(path) for name in _names_at(*located(spelled))]
    except ImportError as error:
        remedy = "pip install s3fs for s3://, gcsfs for gs://"
        raise InputError(f"{path}: {_cause(error)}; {remedy}") from error
    except Exception as error:  # fsspec's file systems and the network may raise anything
        remedy = "check the address and the permissions"
        raise InputError(f"{path}: cannot be reached: {_cause(error)}; {remedy}") from error
    if not names:
        raise InputError(f"{path}: no such file, or a pattern that matches none")
    local = "file" in filesystem.protocol
    return [found if local else filesystem.unstrip_protocol(found) for found in sorted(set(names))]


def _spellings(path: str) -> Iterator[str]:
    """Yields the path with each name in it as given, composed or decomposed."""
    names = (
        {name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))}
        for name in path.split("/")
    )
    return map("/".join, product(*names))


def located(path: str) -> tuple[AbstractFileSystem, str]:
    """Returns the file system of a path and the name there."""
    if os.path.exists(path):  # in fsspec a `::` would chain file systems
        return LocalFileSystem(), LocalFileSystem._strip_protocol(path)
    return url_to_fs(path)


def _cause(error: Exception) -> str:
    return one_line(error) or type(error).__name__


def _names_at(filesystem: AbstractFileSystem, name: str) -> list[str]:
    if filesystem.isfile(name):  # checked first, since brackets in a name look like a pattern
        return [name]
    if filesystem.isdir(name):
        return _files_in(filesystem, name)
    if not has_magic(name):
        return []
    named = _MAGIC.split(name)[0].rpartition("/")[0]  # a folder that may well be hidden
    found = [each for each in filesystem.glob(name) if "/." not in each.removeprefix(named)]
    names = [each for each in found if filesystem.isfile(each)]
    folders = (each for each in found if filesystem.isdir(each))
    return names + [inner for folder in folders for inner in _files_in(filesystem, folder)]


def _files_in(filesystem: AbstractFileSystem, folder: str) -> list[str]:
    local = isinstance(filesystem, LocalFileSystem)
    names = _local_files(folder) if local else filesystem.find(folder)
    return [name for name in names if "/." not in name.removeprefix(folder)]


def _local_files(folder: str) -> Iterator[str]:
    """Lists what can be read; links are followed, but each folder is read once.

    A link to a file that is missing is listed, so that its absence shows.
    """
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        folders.sort()  # a folder with several names always gets the same one
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for path in (f"{root}/{name}" for name in names):
            if os.path.isfile(path) or not os.path.exists(path):
                yield path


def _raise(error: OSError) -> None:
    raise error


def open_members(file: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yields name and stream of a file (decompressed), or of each file in an archive.

    Supports `.gz`, `.zst`, `.bz2`, `.xz`, `.zip` and `.tar` with these compressions, and compressed
    files in archives.

    Raises:
        InputError: A member of a `.zip` needs a password or an unknown compression.
    """
    filesystem, name = located(file)
    with filesystem.open(name, "rb") as raw:
        if file.lower().endswith(".zip"):
            yield from _zip_members(file, raw)
        elif _TAR.search(file):
            yield from _tar_members(file, raw)
        else:
            with _decompressed(file, raw) as stream:
                yield file, stream


def is_archive(name: str) -> bool:
    """Tells whether a file holds files, by its name."""
    return bool(_TAR.search(name) or _ARCHIVE.search(name))


_BROKEN = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


class _TarInfo(tarfile.TarInfo):
    """The header of a member; one that is damaged does not pass for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except _BROKEN as error:
            raise tarfile.ReadError(f"the header of a file is broken: {error}") from error


def _tar_members(file: str, raw: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    with _decompressed(file, raw) as stream:
        # Not decompressed by `tarfile`, which reads the first of several parts, and no checksums.
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_TarInfo) as archive:
            for entry in archive:
                if entry.islnk() or entry.issym():
                    continue  # the target is read by itself, or is not in the archive
                if content := archive.extractfile(entry):
                    name = f"{file}/{legible(entry.name)}"
                    yield name, _decompressed(name, cast(BinaryIO, content))
        while rest := stream.read(_CHUNK):  # up to the checksum
            if rest.strip(b"\0"):
                raise tarfile.ReadError("something follows the end of the archive")


def _zip_members(file: str, raw: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    name = file
    try:
        with zipfile.ZipFile(raw) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                is_link = stat.S_ISLNK(member.external_attr >> 16)
                if not (member.is_dir() or is_link or "__MACOSX/" in member.filename):
                    name = f"{file}/{_zip_name(member)}"
                    with archive.open(member) as stream:
                        yield name, _decompressed(name, cast(BinaryIO, stream))
    # A password, a compression that Python does not support, or a name in a wrong encoding.
    except (RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: {error}; unpack it with another program first") from error


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Decodes the name of a member, which many programs write in an undeclared encoding."""
    if not member.flag_bits & _NAME_IS_UTF8:
        for encoding in ("utf-8", "cp949"):
            with suppress(UnicodeError):  # Python decoded it as CP437
                return member.filename.encode("cp437").decode(encoding)
    return member.filename


@contextmanager
def readable(file: str) -> Iterator[None]:
    """Turns errors that are raised while a file is read into ones that name the file.

    Raises:
        InputError: The file cannot be read, or is damaged.
    """
    try:
        yield
    except _DAMAGED as error:
        cause = one_line(error) or "it ends too early"
        raise InputError(f"{file}: damaged: {cause}; get the file again") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error


def _decompressed(file: str, raw: BinaryIO) -> BinaryIO:
    ending = file.lower().rpartition(".")[2]
    # Not all remote files can read a line of limited length.
    stream = io.BufferedReader(cast(io.RawIOBase, raw), _CHUNK)
    if ending not in _DECOMPRESS:
        return stream
    if not stream.peek(1):
        raise EOFError("it is empty")
    return _DECOMPRESS[ending](stream)


def _decompress_zst(stream: BinaryIO) -> BinaryIO:
    import pyarrow

    # The package `zstandard` mistakes a truncated file for a complete one.
    whole = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream), "zstd")
    return io.BufferedReader(whole, _CHUNK)


_DECOMPRESS: dict[str, Callable[[BinaryIO], Any]] = {
    **dict.fromkeys(("gz", "tgz"), gzip.open),
    **dict.fromkeys(("bz2", "tbz", "tbz2"), bz2.open),
    **dict.fromkeys(("xz", "txz"), lzma.open),
    **dict.fromkeys(("zst", "tzst"), _decompress_zst),
}
"""How files with these endings are decompressed, all parts of them."""


def legible(name: str) -> str:
    """Returns the name of a file as text; a name that is not UTF-8 is decoded as CP949."""
    data = name.encode("utf-8", "surrogateescape")
    return name if reads_as_utf8(data) else data.decode("cp949", "backslashreplace")
