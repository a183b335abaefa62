"""Reading files line by line: decoding, damaged lines, and lines too long to be read at once."""

import codecs
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from datatrove.data import Document

from kebyt5.corpus.readers.encodings import NotText, decode, shows_encoding
from kebyt5.corpus.readers.files import is_archive, open_members
from kebyt5.corpus.readers.reader import Reader, defect
from kebyt5.errors import InputError


class Part(NamedTuple):
    """A line as bytes, or a part of one.

    Attributes:
        number: Number of the line in its file, from 1.
        data: The bytes, without the line end.
        goes_on: Whether more parts of this line follow.
    """

    number: int
    data: bytes
    goes_on: bool


@dataclass(slots=True)
class Line:
    """A line, or a part of one that was divided, or what is wrong with it.

    Attributes:
        file: Name of its file, in an archive with the archive's name.
        number: Number of the line, from 1.
        text: The text without the line end.
        size: Bytes that it has in its file.
        goes_on: Whether more parts of this line follow.
        defect: Set if it cannot be read, and counts as this.
    """

    file: str
    number: int
    text: str = ""
    size: int = 0
    goes_on: bool = False
    defect: Document | None = None

    @property
    def place(self) -> str:
        """The place for messages and names of documents, `file:line`."""
        return f"{self.file}:{self.number}"


@dataclass(kw_only=True)
class LinesReader(Reader):
    """Base of readers whose documents are lines or runs of lines."""

    @property
    def divides(self) -> bool:
        """Whether lines over `max_bytes` are read in parts; otherwise they are defects."""
        return False

    @abstractmethod
    def _documents(self, lines: Iterator[Line]) -> Iterator[Document]:
        """Yields the documents in the lines of one file; an archive has several."""

    def _read(self, file: str) -> Iterator[Document]:
        for name, stream in open_members(file):
            if name != file and is_archive(name):
                yield defect("an archive in an archive", name, "unpack it first")
            else:
                yield from self._documents(self._lines(name, stream))

    def _lines(self, name: str, stream: BinaryIO) -> Iterator[Line]:
        decoder = _Decoder(name, self.encoding)
        parts = read_lines(stream, self.max_bytes)
        for part in parts:
            if not part.goes_on:
                yield decoder.decode(part)
            elif self.divides:
                lines = map(decoder.decode, _whole_line(part, parts))
                yield from (line for line in lines if line.text or line.defect)
            else:
                decoder.decode(part)  # which may tell that the file is in another encoding
                decoder.reset()
                yield self._too_long(name, part, parts)

    def _too_long(self, name: str, first: Part, parts: Iterator[Part]) -> Line:
        size = sum(len(part.data) for part in _whole_line(first, parts))
        reason, place = f"line over {self.max_bytes:,} bytes", f"{name}:{first.number}"
        shown = _begin(first.data, self.encoding)
        bad = defect(reason, place, text=shown, size=size)
        return Line(name, first.number, size=size, defect=bad)


def read_lines(stream: BinaryIO, limit: int) -> Iterator[Part]:
    """Yields lines without their LF or CRLF, in parts of at most `limit` bytes."""
    number, begun = 1, False
    while data := stream.readline(limit):
        whole = data.endswith(b"\n")
        goes_on = not whole and len(data) == limit
        if whole:
            data = data[:-1].removesuffix(b"\r")
        yield Part(number, data, goes_on)
        number, begun = (number, True) if goes_on else (number + 1, False)
    if begun:
        yield Part(number, b"", False)


def _whole_line(first: Part, following: Iterator[Part]) -> Iterator[Part]:
    """Yields the parts of a line, the first of which is known."""
    yield first
    for part in following:
        yield part
        if not part.goes_on:
            return


class _Decoder:
    """Decodes the lines of one file, unless all of it is in another encoding."""

    def __init__(self, name: str, encoding: str) -> None:
        self.name = name
        self.encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()  # parts may end in a character
        self._continues = False  # after a part
        self._is_utf8 = codecs.lookup(encoding).name == "utf-8"
        self._is_certain = False  # that the file is in this encoding, as an earlier line shows
        self._has_failed = False  # in the part before of the same line

    def decode(self, part: Part) -> Line:
        """Decodes a line, or the next part of one; what is not text becomes a defect.

        Raises:
            InputError: The file is in another encoding, as far as it was read.
        """
        data = part.data
        if self._has_failed and self._is_utf8:  # the part before may have cut a character
            data = data[_next_character(data) :]
        line = Line(self.name, part.number, size=len(part.data), goes_on=part.goes_on)
        try:
            line.text = self._text(data, line).removeprefix("\ufeff")
            self._has_failed = False
        except NotText as error:
            self._has_failed = part.goes_on
            shown = _begin(data, self.encoding)
            reason = f"not {self.encoding}"
            line.defect = defect(reason, line.place, str(error), shown, len(data))
        self._continues = part.goes_on
        return line

    def reset(self) -> None:
        """Forgets the beginning of a line whose other parts will not be decoded."""
        self._decoder.reset()
        self._continues = self._has_failed = False

    def _text(self, data: bytes, line: Line) -> str:
        try:
            if line.goes_on or self._continues:
                text = self._decoder.decode(data, final=not line.goes_on)
            else:
                text = data.decode(self.encoding)
        except UnicodeDecodeError as error:
            self._decoder.reset()
            try:
                decode(data, self.encoding, line.place)  # says what it is instead
            except InputError as explained:
                if not self._is_certain:
                    raise
                raise NotText(str(explained)) from error
            raise NotText(str(error)) from error
        self._is_certain = self._is_certain or shows_encoding(text, data, self.encoding)
        return text


def _next_character(data: bytes) -> int:
    """Returns the offset of the first whole UTF-8 character in bytes that may begin within one."""
    return next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)


def _begin(data: bytes, encoding: str) -> str:
    return data[:1000].decode(encoding, "replace")
