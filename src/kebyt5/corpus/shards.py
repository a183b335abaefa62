"""Byte shards: the files of a corpus that a byte-level model trains on.

A shard is three files that share a name:

- `NAME.bytes`: its documents in UTF-8, back to back, each followed by a newline, so that the whole
  file is UTF-8 text and any part of it between two characters can be trained on;
- `NAME.index`: the offset of each document and the end, as little-endian uint64;
- `NAME.manifest.json`: the number of documents and bytes, and the SHA-256 of both files.

The manifest is written when the other files are complete: a shard without it does not count. Each
source has its own folder of shards, `CORPUS/SPLIT/SOURCE/NAME.*`.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from kebyt5.errors import InputError
from kebyt5.output import write_text, writing

CORPUS_MANIFEST = "corpus.json"
"""The manifest of a corpus, which its build writes last, beside `train` and `validation`."""

CORPUS_WORK = ".work"
"""The folder in which a build keeps intermediate files and marks of completed tasks."""

SEPARATOR = b"\n"
"""The bytes after every document. A model cannot tell the end of a document from that of a line,
since documents may have several lines."""

SPLITS = ("train", "validation")
FORMAT = "kebyt5 byte shard 1"
MAX_BYTES = 256 << 20
_BYTES, _INDEX, _MANIFEST = ".bytes", ".index", ".manifest.json"
_UNFINISHED = ".incomplete"
_KEPT = " and run it again, complete shards are kept"
_INDEX_TYPE = np.dtype("<u8")


class ShardWriter:
    """Writes documents to shards `PREFIX-00000`, `PREFIX-00001`, … of a folder.

    The files are a function of the documents and their order. A shard gets its final name when it
    is complete, and the shards of an earlier writer with the same prefix are removed at the start,
    so a task that was killed can simply be run again.

    Args:
        folder: Folder of one source; created if it does not exist.
        prefix: Distinguishes the writers of one folder, for instance by the task's rank.
        max_bytes: Largest size of a shard. A document is never divided, so a longer one becomes a
            shard by itself.

    Raises:
        InputError: The disk is full or the folder cannot be written to.

    Example:
        >>> with ShardWriter("corpus/train/news", "00003") as writer:  # doctest: +SKIP
        ...     writer.write("첫 문서")
    """

    def __init__(
        self, folder: str | os.PathLike[str], prefix: str, max_bytes: int = MAX_BYTES
    ) -> None:
        if not prefix or Path(prefix).name != prefix or prefix.startswith("."):
            raise ValueError(f"prefix {prefix!r} cannot begin a file name")
        if max_bytes < 1:
            raise ValueError(f"max_bytes has to be 1 or more, but is {max_bytes}")
        self.folder = Path(folder)
        self.prefix = prefix
        self.max_bytes = max_bytes
        self.shards = 0
        self._file: BinaryIO | None = None
        self._ends = [0]
        self._hash = hashlib.sha256()
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            name = re.compile(rf"{re.escape(prefix)}-\d{{5,}}(\.[a-z]+)+")
            left = [path for path in self.folder.iterdir() if name.fullmatch(path.name)]
            # Manifests go first: a shard must not look complete while it is being removed.
            for path in sorted(left, key=lambda path: not path.name.endswith(_MANIFEST)):
                path.unlink()

    def write(self, text: str) -> None:
        """Adds a document.

        Raises:
            ValueError: The text is empty, or has a lone surrogate, which UTF-8 cannot encode.
            InputError: The disk is full.
        """
        document = text.encode() + SEPARATOR
        if not text:
            raise ValueError("the document is empty; leave it out and count it")
        if self._file is not None and self._ends[-1] + len(document) > self.max_bytes:
            self._finish_shard()
        with writing(self._path, _KEPT):
            if self._file is None:
                self._file = open(f"{self._path}{_BYTES}{_UNFINISHED}", "wb")  # noqa: SIM115
                self._ends = [0]
                self._hash = hashlib.sha256()
            self._file.write(document)
        self._hash.update(document)
        self._ends.append(self._ends[-1] + len(document))

    def close(self) -> None:
        """Finishes the last shard."""
        if self._file is not None:
            self._finish_shard()

    def abort(self) -> None:
        """Removes the unfinished shard; complete ones stay."""
        if self._file is not None:
            with suppress(OSError):  # a full disk has no room for the rest of the buffer
                self._file.close()
            self._file = None
            for suffix in (_BYTES, _INDEX):
                Path(f"{self._path}{suffix}{_UNFINISHED}").unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.prefix}-{self.shards:05d}"

    def _finish_shard(self) -> None:
        assert self._file is not None
        index = np.array(self._ends, _INDEX_TYPE).tobytes()
        path = self._path
        with writing(self._path, _KEPT):
            self._file.close()
            Path(f"{path}{_INDEX}{_UNFINISHED}").write_bytes(index)
            for suffix in (_BYTES, _INDEX):
                Path(f"{path}{suffix}{_UNFINISHED}").replace(f"{path}{suffix}")
        manifest = {
            "format": FORMAT,
            "documents": len(self._ends) - 1,
            "bytes": self._ends[-1],
            "sha256": {
                _BYTES: self._hash.hexdigest(),
                _INDEX: hashlib.sha256(index).hexdigest(),
            },
        }
        write_text(f"{path}{_MANIFEST}", json.dumps(manifest, indent=2) + "\n")
        self._file = None
        self.shards += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()


class Shard:
    """One shard, mapped into memory; a sequence of documents.

    Args:
        manifest: Path of its `.manifest.json`.

    Raises:
        InputError: A file of the shard is missing, or its size is not that in the manifest.
    """

    def __init__(self, manifest: str | os.PathLike[str]) -> None:
        self.manifest = Path(manifest)
        try:
            content = json.loads(self.manifest.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}, not {FORMAT!r}")
            self.documents = int(content["documents"])
            self.bytes = int(content["bytes"])
            self.sha256 = {suffix: str(content["sha256"][suffix]) for suffix in (_BYTES, _INDEX)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.manifest}: not a byte-shard manifest ({_cause(error)}); {_REMEDY}"
            ) from error
        sizes = {_BYTES: self.bytes, _INDEX: _INDEX_TYPE.itemsize * (self.documents + 1)}
        for suffix, size in sizes.items():
            path = self._file(suffix)
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                problem = "missing" if found is None else f"{found:,} bytes long"
                raise InputError(
                    f"{path}: {problem}, but {self.manifest.name} says {size:,} bytes; {_REMEDY}"
                )

    def _file(self, suffix: str) -> Path:
        return self.manifest.with_name(self.manifest.name.removesuffix(_MANIFEST) + suffix)

    @cached_property
    def data(self) -> np.ndarray:
        """The bytes of all documents, uint8 (bytes,), mapped into memory."""
        return _mapped(self._file(_BYTES), np.dtype(np.uint8))

    @cached_property
    def offsets(self) -> np.ndarray:
        """The offsets of the documents and the end, uint64 (documents + 1,), mapped into memory."""
        return _mapped(self._file(_INDEX), _INDEX_TYPE)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the mapped files, which a spawned process maps itself."""
        return {
            name: value for name, value in vars(self).items() if name not in ("data", "offsets")
        }

    def __len__(self) -> int:
        return self.documents

    def __getitem__(self, number: int) -> str:
        """Returns a document without its separator."""
        if not 0 <= number < self.documents:
            raise IndexError(f"{self.manifest}: document {number} of {self.documents}")
        begin, end = map(int, self.offsets[number : number + 2])
        return self.data[begin : end - len(SEPARATOR)].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(self.documents))

    def verify(self) -> None:
        """Verifies the checksums.

        Raises:
            InputError: A file was altered; names it.
        """
        for suffix, expected in self.sha256.items():
            path = self._file(suffix)
            try:
                with open(path, "rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror}") from error
            if found != expected:
                raise InputError(
                    f"{path}: its checksum is not the one in {self.manifest.name}, so it was"
                    f" altered; {_REMEDY}"
                )


class Shards:
    """All shards in a folder, by source.

    The subfolders of `folder` are the sources; shards directly in `folder` belong to a source with
    its name. Sources and shards are sorted by name.

    Args:
        folder: Folder of shards, for instance `CORPUS/train`.

    Raises:
        InputError: The folder has no shards, or an incomplete one, or its corpus is incomplete.

    Attributes:
        sources: Shards by the name of their source.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder; `kebyt5 corpus build` makes shards")
        _refuse_unfinished(self.folder)
        self.sources: dict[str, list[Shard]] = {}
        for path in _shard_files(self.folder, _MANIFEST):
            parts = path.relative_to(self.folder).parts
            source = parts[0] if len(parts) > 1 else self.folder.resolve().name
            self.sources.setdefault(source, []).append(Shard(path))
        if not self.sources:
            raise InputError(f"{self.folder}: no shards here; `kebyt5 corpus build` makes them")

    def __iter__(self) -> Iterator[Shard]:
        return (shard for shards in self.sources.values() for shard in shards)

    @property
    def bytes(self) -> int:
        """Number of bytes in all shards, separators included."""
        return sum(shard.bytes for shard in self)

    @property
    def documents(self) -> int:
        """Number of documents in all shards."""
        return sum(shard.documents for shard in self)

    @property
    def fingerprint(self) -> str:
        """Identifies this set of shards: a SHA-256 of sources, sizes and checksums."""
        content: Any = [
            [source, [(shard.bytes, shard.documents, shard.sha256) for shard in shards]]
            for source, shards in self.sources.items()
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def verify(self, rank: int = 0, world_size: int = 1) -> None:
        """Verifies all checksums, or with several ranks those of every `world_size`-th shard.

        Raises:
            InputError: A file was altered; names the first one.
        """
        for shard in list(self)[rank::world_size]:
            shard.verify()


_REMEDY = "build this corpus again or copy it again"


def _shard_files(folder: Path, suffix: str) -> list[Path]:
    """Lists the files in a folder and its subfolders, except hidden ones, sorted by path."""
    above = frozenset(map(str, Path(os.path.realpath(folder)).parents))
    found = (path for path in _files(folder, above) if path.name.endswith(suffix))
    return sorted(found, key=lambda path: path.parts)


def _files(folder: Path, around: frozenset[str]) -> Iterator[Path]:
    """Yields the files below a folder, through links, but not back to the folders around it."""
    around |= {os.path.realpath(folder)}
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be read: {error.strerror}; let this user read it"
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield Path(entry)
        elif os.path.realpath(entry) not in around:
            yield from _files(Path(entry), around)


def _refuse_unfinished(folder: Path) -> None:
    """Refuses what a killed build or writer left, to avoid training on part of a corpus."""
    for corpus in (folder, *folder.absolute().parents[:2]):
        if (corpus / CORPUS_WORK).is_dir() and not (corpus / CORPUS_MANIFEST).exists():
            raise InputError(
                f"{corpus}: there is no {CORPUS_MANIFEST}, so the build of this corpus has not"
                " finished; run `kebyt5 corpus build` to its end"
            )
    for path in _shard_files(folder, _UNFINISHED):
        raise InputError(f"{path}: this shard is unfinished; let the build of the corpus finish")
    for path in _shard_files(folder, _BYTES):
        if not Path(f"{path.as_posix().removesuffix(_BYTES)}{_MANIFEST}").is_file():
            raise InputError(
                f"{path}: this shard lacks its {_MANIFEST}, which is written last;"
                " let the build of the corpus finish"
            )


def _mapped(path: Path, dtype: np.dtype[Any]) -> np.ndarray:
    # A plain array: each slice of an np.memmap itself costs a microsecond more.
    return np.asarray(np.memmap(path, dtype, mode="r")).view(np.ndarray)


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


__all__ = [
    "CORPUS_MANIFEST",
    "CORPUS_WORK",
    "MAX_BYTES",
    "SEPARATOR",
    "SPLITS",
    "Shard",
    "ShardWriter",
    "Shards",
]
