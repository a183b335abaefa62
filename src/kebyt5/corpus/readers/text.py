"""Reading plain text."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from datatrove.data import Document

from kebyt5.corpus.readers.files import (
    NotText,
    decode,
    is_archive,
    open_members,
    read_lines,
    shows_encoding,
)
from kebyt5.corpus.readers.reader import Reader, defect, document
from kebyt5.errors import InputError


@dataclass(kw_only=True)
class LinesReader(Reader):
    """Base of readers whose documents are runs of lines; a document over the limit is divided."""

    def lines(self, file: str) -> Iterator[tuple[str, int, str | Document, bool]]:
        """Yields the lines of a file or of the files in an archive.

        Yields:
            The name of the file; the number of the line; the line, or part of a very long one, or a
            defect if it is not text; and whether more parts of this line follow.
        """
        for name, stream in open_members(file):
            if name != file and is_archive(name):
                bad = defect("an archive in an archive", name, "unpack it first")
                yield name, 0, bad, False
                continue
            decoder = codecs.getincrementaldecoder(self.encoding)()
            is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
            continues = has_failed = has_text = False
            for number, data, goes_on in read_lines(stream, self.max_bytes):
                place = f"{name}:{number}"
                if continues and has_failed and is_utf8:  # the last part may have cut a character
                    data = data[_next_character(data) :]
                has_failed = False
                try:
                    if continues or goes_on:  # a part may end within a character
                        try:
                            text = decoder.decode(data, final=not goes_on)
                        except UnicodeDecodeError as error:
                            decode(data, self.encoding, place)  # raises if it is another encoding
                            raise NotText(str(error)) from error
                    else:
                        text = decode(data, self.encoding, place)
                    has_text = has_text or shows_encoding(text, data, self.encoding)
                    yield name, number, text, goes_on
                except (NotText, InputError) as error:
                    if isinstance(error, InputError) and not has_text:
                        raise  # the whole file is in another encoding
                    has_failed = True
                    decoder.reset()
                    shown = data[:1000].decode(self.encoding, "replace")
                    bad = defect(f"not {self.encoding}", place, str(error), shown, len(data))
                    yield name, number, bad, goes_on
                continues = goes_on


def _next_character(data: bytes) -> int:
    """Returns the offset of the first whole UTF-8 character in bytes that may begin within one."""
    return next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)


class Gathering:
    """Collects lines into a document, which is divided when it exceeds a limit."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.lines: list[str] = []
        self.place = ""
        self.bytes = 0

    def add(self, line: str, place: str) -> Iterator[Document]:
        """Adds a line; if that would exceed the limit, first yields the lines so far."""
        size = len(line.encode(errors="surrogatepass")) + 1
        if self.bytes + size > self.max_bytes:
            yield from self.finish()
        if not self.lines:
            self.place = place
        self.lines.append(line)
        self.bytes += size

    def finish(self) -> Iterator[Document]:
        """Yields the lines so far as a document, if there are any."""
        if self.lines:
            yield document("\n".join(self.lines), self.place)
        self.lines, self.bytes = [], 0


class LongLine:
    """Collects the parts of a line that is too long to be read at once, for one defect."""

    def __init__(self) -> None:
        self._begin = ""
        self._bytes = 0

    def add(self, part: str) -> None:
        """Adds a part, of which only its size is kept if it is not the first."""
        self._begin = self._begin or part
        self._bytes += len(part.encode(errors="surrogatepass"))

    def finish(self, reason: str, place: str) -> Iterator[Document]:
        """Yields the line as a defect, if any of its parts was text."""
        if self._bytes:
            yield defect(reason, place, "", self._begin, self._bytes)
        self._begin, self._bytes = "", 0


@dataclass(kw_only=True)
class TextReader(LinesReader):
    """Reads plain text; places name the first line of a document."""

    documents: Literal["paragraph", "line", "file"] = "paragraph"
    """What a document is: a paragraph between blank lines, a line, or the whole file."""

    pattern: str | None = None
    """Regular expression that a line has to match; the match, or its first group, replaces it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise InputError(f"pattern {self.pattern!r}: {error}") from error

    def _read(self, file: str) -> Iterator[Document]:
        pattern = re.compile(self.pattern) if self.pattern is not None else None
        gathering = Gathering(self.max_bytes)
        long, last, continues = LongLine(), file, False
        for name, number, line, goes_on in self.lines(file):
            is_part, continues = continues or goes_on, goes_on
            if name != last:
                yield from gathering.finish()
                last = name
            if isinstance(line, Document):
                yield line
            elif is_part and pattern is not None:
                long.add(line)  # what matches may be in two parts of it
            if is_part and not goes_on:
                yield from long.finish(f"line over {self.max_bytes:,} bytes", f"{name}:{number}")
            if isinstance(line, Document) or (is_part and (pattern is not None or not line)):
                continue
            # A blank line separates paragraphs even if the pattern does not match it.
            is_blank = self.documents == "paragraph" and not goes_on and not line.strip()
            if pattern is not None and not is_blank:
                match = pattern.search(line)
                if match is None:
                    continue
                line = (match[1] if pattern.groups else match[0]) or ""
            if self.documents == "line" and not goes_on and not line.strip():
                yield document(line, f"{name}:{number}")
            elif self.documents == "paragraph" and not line.strip():
                yield from gathering.finish()
            else:
                yield from gathering.add(line, f"{name}:{number}")
                if self.documents == "line" or goes_on:
                    yield from gathering.finish()
        yield from gathering.finish()


__all__ = ["Gathering", "LinesReader", "LongLine", "TextReader"]
