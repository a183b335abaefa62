"""What every reader has in common: options, documents, and what is wrong with one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.files import find_files, legible, readable
from kebyt5.errors import InputError
from kebyt5.settings import STRICT


@dataclass(kw_only=True)
class Reader(ABC):
    """Turns the files of a source into documents. Its fields are the options of the source.

    A file is the unit that tasks are made of; what lies in it comes in its order. Nothing is left
    out: what cannot be a document is yielded with a defect, which `kebyt5.corpus.filters` counts.
    (datatrove's own disk readers pass over empty texts and broken lines with a line in their log.)
    """

    __pydantic_config__ = STRICT

    encoding: str = "utf-8"
    """Of text files: `utf-8`, or `cp949`, which includes EUC-KR."""

    max_bytes: int = 16 << 20
    """Limit of what is read at once from text files: longer plain text is divided, a longer line of
    JSON is a defect."""

    def __post_init__(self) -> None:
        try:
            newline = "\n".encode(self.encoding)
        except LookupError as error:
            known = "expected utf-8, cp949 or another of Python's"
            raise InputError(f"encoding {self.encoding!r} is unknown; {known}") from error
        if newline != b"\n":
            raise InputError(
                f"encoding {self.encoding!r} does not end its lines as ASCII does;"
                f" convert the files first (iconv -f {self.encoding} -t utf-8)"
            )
        if self.max_bytes < 1024:
            raise InputError(f"max_bytes {self.max_bytes}: has to be 1024 or more")

    def files(self, paths: Sequence[str]) -> list[str]:
        """The files at these paths: names, folders or patterns with `*`, also remote ones.

        Raises:
            InputError: Nothing there.
        """
        return [file for path in paths for file in find_files(path)]

    def read(self, file: str) -> Iterator[Document]:
        """Yields the documents of one file.

        Raises:
            InputError: It cannot be read, is damaged, or in another encoding than the source.
        """
        with readable(file):
            yield from self._read(file)

    @abstractmethod
    def _read(self, file: str) -> Iterator[Document]:
        """Does it; errors of the operating system and of decompression may pass."""


def document(text: str, place: str) -> Document:
    """A document and where it comes from, `file:line`."""
    return Document(text=text, id=legible(place))


def defect(
    reason: str, place: str, detail: str = "", text: str = "", size: int | None = None
) -> Document:
    """What stands in the place of a document and cannot be one.

    Args:
        reason: Why, in the same words for all of its kind.
        place: `file:line`.
        detail: What is particular about this one.
        text: What it says, of which the beginning is kept for a person to see.
        size: Its bytes, where that is not all of it.
    """
    if size is None:
        size = len(text.encode(errors="surrogatepass"))
    metadata = {"defect": reason, "detail": detail, "size": size}
    return Document(text=text[:1000], id=legible(place), metadata=metadata)


__all__ = ["Reader", "defect", "document"]
