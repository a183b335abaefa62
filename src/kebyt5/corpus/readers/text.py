"""Reading plain text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from datatrove.data import Document

from kebyt5.corpus.readers.lines import Line, LinesReader
from kebyt5.corpus.readers.reader import document
from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length


class Gathering:
    """Collects lines into a document, which is divided when it exceeds a limit."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.lines: list[str] = []
        self.place = ""
        self.bytes = 0

    def add(self, line: str, place: str) -> Iterator[Document]:
        """Adds a line; if that would exceed the limit, first yields the lines so far."""
        size = byte_length(line) + 1
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


@dataclass(kw_only=True)
class TextReader(LinesReader):
    """Reads plain text; places name the first line of a document.

    A line over `max_bytes` is divided, or a defect if there is a pattern, whose match may lie in
    two parts.
    """

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

    @property
    def divides(self) -> bool:
        """Whether there is no pattern, whose match may lie in two parts."""
        return self.pattern is None

    def _documents(self, lines: Iterator[Line]) -> Iterator[Document]:
        gathering = Gathering(self.max_bytes)
        for line in lines:
            if line.defect is not None:
                yield line.defect
                continue
            text = self._matched(line.text)
            shown = line.text if text is None else text
            if self.documents == "paragraph" and not shown.strip():  # even where nothing matches
                yield from gathering.finish()
            elif text is not None:
                yield from gathering.add(text, line.place)
                if self.documents == "line" or line.goes_on:
                    yield from gathering.finish()
        yield from gathering.finish()

    def _matched(self, line: str) -> str | None:
        if self.pattern is None:
            return line
        match = re.search(self.pattern, line)  # `re` keeps what it has compiled
        return match and ((match[1] if match.re.groups else match[0]) or "")
