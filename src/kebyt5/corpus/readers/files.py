"""Opening files wherever and however packed they are, and taking them apart into lines."""

import codecs
import gzip
import io
import lzma
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

import fsspec
from fsspec import AbstractFileSystem
from fsspec.core import has_magic, url_to_fs

from kebyt5.errors import InputError

_TAR = re.compile(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_NAME_IS_UTF8 = 0x800
_DAMAGED = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
)


def find_files(path: str) -> list[str]:
    """Files at a path, in a folder or matching a pattern, sorted; also on S3 or the hub.

    Folders that match a pattern count with all that is in them. Hidden files are left out.

    Raises:
        InputError: Nothing there, or it cannot be reached.
    """
    try:
        filesystem, name = url_to_fs(path)
        names = _names_at(filesystem, name)
    except ImportError as error:
        remedy = "pip install s3fs for s3://, gcsfs for gs://"
        raise InputError(f"{path}: {_cause(error)}; {remedy}") from error
    except Exception as error:  # whatever the network and the file systems behind fsspec raise
        remedy = "check the address, and whether it may be read"
        raise InputError(f"{path}: cannot be reached: {_cause(error)}; {remedy}") from error
    if not names:
        raise InputError(f"{path}: no such file, or a pattern that matches none")
    local = "file" in filesystem.protocol
    return [found if local else filesystem.unstrip_protocol(found) for found in sorted(set(names))]


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _names_at(filesystem: AbstractFileSystem, name: str) -> list[str]:
    if filesystem.isfile(name):  # asked first, as brackets in a name look like a pattern
        return [name]
    if filesystem.isdir(name):
        return _files_in(filesystem, name)
    if not has_magic(name):
        return []
    found = [each for each in filesystem.glob(name) if posixpath.basename(each)[:1] != "."]
    names = [each for each in found if filesystem.isfile(each)]
    folders = (each for each in found if filesystem.isdir(each))
    return names + [inner for folder in folders for inner in _files_in(filesystem, folder)]


def _files_in(filesystem: AbstractFileSystem, folder: str) -> list[str]:
    return [name for name in filesystem.find(folder) if "/." not in name.removeprefix(folder)]


def open_members(file: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yields the name and the bytes of a file, of a compressed one, or of each file in an archive.

    Knows `.gz`, `.zst`, `.bz2`, `.xz`, `.zip` and `.tar` with its compressions.

    Raises:
        InputError: A member of a `.zip` needs a password, or a compression that is not known.
    """
    with fsspec.open(file, "rb") as raw:
        if file.lower().endswith(".zip"):
            yield from _zip_members(file, raw)
        elif _TAR.search(file):
            # Python 3.11 knows all compressions of an archive but this one.
            packed = _decompressed(file, raw) if file.lower().endswith("zst") else raw
            with tarfile.open(fileobj=packed, mode="r|*") as archive:
                for entry in archive:
                    if entry.islnk() or entry.issym():
                        continue  # to what is read in its own place, or is not in the archive
                    if content := archive.extractfile(entry):
                        yield f"{file}/{legible(entry.name)}", cast(BinaryIO, content)
        else:
            with _decompressed(file, raw) as stream:
                yield file, stream


def _zip_members(file: str, raw: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    name = file
    try:
        with zipfile.ZipFile(raw) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                if not member.is_dir() and "__MACOSX/" not in member.filename:
                    name = f"{file}/{_zip_name(member)}"
                    with archive.open(member) as stream:
                        yield name, cast(BinaryIO, stream)
    except RuntimeError as error:  # a password, or a compression that Python does not have
        raise InputError(f"{name}: {error}; unpack it with another program first") from error


def _zip_name(member: zipfile.ZipInfo) -> str:
    """The name of a member, which many programs write in an encoding that they do not name."""
    if not member.flag_bits & _NAME_IS_UTF8:
        for encoding in ("utf-8", "cp949"):
            with suppress(UnicodeError):  # Python has read it as CP437
                return member.filename.encode("cp437").decode(encoding)
    return member.filename


@contextmanager
def readable(file: str) -> Iterator[None]:
    """Says of which file an error comes that is raised while it is read.

    Raises:
        InputError: It cannot be read, or is damaged.
    """
    try:
        yield
    except _DAMAGED as error:
        cause = " ".join(str(error).split()) or "it ends too early"
        raise InputError(f"{file}: damaged: {cause}; get the file once more") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error


def _decompressed(file: str, raw: BinaryIO) -> BinaryIO:
    ending = file.lower()
    if ending.endswith("zst"):
        import pyarrow

        # Python's own `zstandard` takes a file that was cut off for a whole one.
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw), "zstd")
        return io.BufferedReader(stream, 1 << 20)
    for suffix, compression in ((".gz", "gzip"), (".bz2", "bz2"), (".xz", "xz")):
        if ending.endswith(suffix):
            return fsspec.compression.compr[compression](raw, mode="rb")
    return raw


def legible(name: str) -> str:
    """The name of a file as text; what is no UTF-8 is read as CP949, as Korean names often are."""
    data = name.encode("utf-8", "surrogateescape")
    return name if reads_as_utf8(data) else data.decode("cp949", "backslashreplace")


def read_lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yields lines in parts of at most `limit` bytes.

    Yields:
        The number of the line from 1, the part without its LF or CRLF, and whether more parts
        of this line follow.
    """
    number, begun = 1, False
    while part := stream.readline(limit):
        whole = part.endswith(b"\n")
        goes_on = not whole and len(part) == limit
        if whole:
            part = part[:-1].removesuffix(b"\r")
        yield number, part, goes_on
        number, begun = (number, True) if goes_on else (number + 1, False)
    if begun:
        yield number, b"", False


class NotText(ValueError):
    """Bytes that are no text in the encoding of their source."""


def decode(data: bytes, encoding: str, place: str) -> str:
    """Decodes a line or a file, and names the encoding where it is another Korean one.

    Raises:
        NotText: It is not in this encoding, perhaps cut off or damaged.
        InputError: It is in another encoding, so this will be no better further on.
    """
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            remedy = "convert it first (iconv -f utf-16 -t utf-8)"
            raise InputError(f"{place}: UTF-16, not {encoding}; {remedy}") from error
        if _name(encoding) == "utf-8" and _is_cp949(data):
            raise InputError(
                f"{place}: not UTF-8 but CP949 (EUC-KR); set `encoding: cp949` for this source"
            ) from error
        if _name(encoding) != "utf-8" and reads_as_utf8(data):
            raise InputError(
                f"{place}: UTF-8, not {encoding}; set `encoding: utf-8` for this source"
            ) from error
        byte = data[error.start]
        raise NotText(f"{error.reason}, byte {byte:#04x} at {error.start}") from error


def _name(encoding: str) -> str:
    return codecs.lookup(encoding).name


def reads_as_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def shows_encoding(text: str, data: bytes, encoding: str) -> bool:
    """Whether bytes that were read as text show that their file is in this encoding.

    ASCII is the same in all, and by chance a short line of UTF-8 is text in another one, too.
    """
    return not text.isascii() and (_name(encoding) == "utf-8" or not reads_as_utf8(data))


def _is_cp949(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 make sense in CP949: mostly the Hangul of KS X 1001.

    Damaged UTF-8 often decodes as CP949 too, but then most of it is still good as UTF-8, and what
    CP949 makes of it is hanja and syllables that no word has.
    """
    try:
        text = codecs.getincrementaldecoder("cp949")().decode(data)  # May end within a character.
    except UnicodeDecodeError:
        return False
    foreign = [character for character in text if character > "\x7f"]
    common = sum(
        "가" <= character <= "힣" and len(character.encode("euc_kr", "ignore")) == 2
        for character in foreign
    )
    kept = [character for character in data.decode("utf-8", "replace") if character > "\x7f"]
    return common > len(foreign) / 2 and kept.count("\ufffd") > len(kept) / 2


__all__ = [
    "NotText",
    "decode",
    "find_files",
    "legible",
    "open_members",
    "read_lines",
    "readable",
    "shows_encoding",
]
