"""The base of all readers: options, documents, and defects."""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.files import find_files, legible, readable
from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.settings import STRICT


@dataclass(kw_only=True)
class Reader(ABC):
    """Reads the files of a source as documents. Its fields are the options of the source.

    Tasks consist of whole files, whose documents are read in order. Nothing is silently left out:
    input that cannot be a document is yielded with a defect, which `kebyt5.corpus.filters` counts.
    (datatrove's own disk readers skip empty texts and broken lines with no more than a log line.)
    """

    __pydantic_config__ = STRICT

    encoding: str = "utf-8"
    """Encoding of text files: `utf-8`, or `cp949`, which includes EUC-KR."""

    max_bytes: int = 16 << 20
    """Most bytes read at once from text files: longer plain text is divided, and a longer line of
    JSON is a defect."""

    def __post_init__(self) -> None:
        try:
            newline = "\n".encode(self.encoding)
        except LookupError as error:
            known = "expected utf-8, cp949 or another of Python's"
            raise InputError(f"encoding {self.encoding!r} is unknown; {known}") from error
        if newline != b"\n":
            raise InputError(
                f"encoding {self.encoding!r} has other line ends than ASCII;"
                f" convert the files first (iconv -f {self.encoding} -t utf-8)"
            )
        if self.max_bytes < 1024:
            raise InputError(f"max_bytes {self.max_bytes}: has to be 1024 or more")

    def files(self, paths: Sequence[str]) -> list[str]:
        """Lists the files at some paths: names, folders or patterns with `*`, local or remote.

        A file at several of the paths is listed once.

        Raises:
            InputError: A path matches no file.
        """
        found: dict[str, str] = {}
        for file in (file for path in paths for file in find_files(path)):
            found.setdefault(_identity(file), file)
        return list(found.values())

    def read(self, file: str) -> Iterator[Document]:
        """Yields the documents of one file.

        Raises:
            InputError: The file cannot be read, is damaged, or is in another encoding.
        """
        with readable(file):
            yield from self._read(file)

    @abstractmethod
    def _read(self, file: str) -> Iterator[Document]:
        """Yields the documents; may raise errors of the operating system and of decompression."""


def _identity(file: str) -> str:
    """Returns what two names of the same file have in common."""
    return file if "://" in file else os.path.realpath(file)


def document(text: str, place: str) -> Document:
    """Makes a document from a text and its place, `file:line`."""
    return Document(text=text, id=legible(place))


def defect(
    reason: str, place: str, detail: str = "", text: str = "", size: int | None = None
) -> Document:
    """Makes a placeholder for input that cannot be a document.

    Args:
        reason: Kind of defect, in the same words for all of its kind.
        place: Place of the input, `file:line`.
        detail: Details of this defect.
        text: The input, of which only the beginning is kept.
        size: Size of the input in bytes, if `text` is not all of it.
    """
    if size is None:
        size = byte_length(text)
    metadata = {"defect": reason, "detail": detail, "size": size}
    return Document(text=text[:1000], id=legible(place), metadata=metadata)


def require_column(column: str, columns: Collection[str], place: str) -> None:
    """Requires a table to have a column.

    Raises:
        InputError: None of its columns has this name; the message begins with `place`.
    """
    if column not in columns:
        raise InputError(f"{place}: no column {column!r} among {', '.join(columns)[:100]}")
