"""Reading tables with a header: tab-separated like NSMC, or CSV."""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from datatrove.data import Document

from kebyt5.corpus.readers.lines import Line, LinesReader
from kebyt5.corpus.readers.reader import defect, document
from kebyt5.errors import InputError

Row = tuple[Line, list[str]]
"""The line that a row begins with, and its cells; no cells where the line has a defect."""


@dataclass(kw_only=True)
class TableReader(LinesReader):
    """Reads a column of a table; quoted cells of CSV may have line breaks in them."""

    column: str = "text"
    """Name of the column with the text."""

    delimiter: str = "\t"
    """Separator of the columns. Quotes have no meaning in a table separated by tabs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.delimiter) != 1:
            raise InputError(f"delimiter {self.delimiter!r}: has to be one character")

    def _read(self, file: str) -> Iterator[Document]:
        split = self._split_at_tabs if self.delimiter == "\t" else self._parse_csv
        for _, lines in groupby(self.lines(file), key=attrgetter("file")):
            yield from self._documents(split(lines))

    def _documents(self, rows: Iterator[Row]) -> Iterator[Document]:
        """Yields the column's cells as documents; the first row has the names of the columns."""
        columns, wanted = 0, 0
        for line, row in rows:
            if line.defect is not None:
                yield line.defect
            elif not columns:
                columns, wanted = len(row), self._wanted(row, line.place)
            elif not line.text.strip():
                yield document("", line.place)
            elif len(row) != columns:
                reason = "row with another number of columns"
                yield defect(reason, line.place, str(len(row)), line.text)
            else:
                yield document(row[wanted], line.place)

    def _wanted(self, header: list[str], place: str) -> int:
        if self.column not in header:
            found = ", ".join(header)[:100]
            raise InputError(f"{place}: no column {self.column!r} among {found}")
        return header.index(self.column)

    def _split_at_tabs(self, lines: Iterator[Line]) -> Iterator[Row]:
        return ((line, line.text.split("\t")) for line in lines)

    def _parse_csv(self, lines: Iterator[Line]) -> Iterator[Row]:
        """Parses rows, which may have several lines.

        If the quotes of a row are wrong, its first line is a defect, and the next row begins with
        the line after that: a quote that is never closed costs one line, not the rest of the file.
        """
        csv.field_size_limit(max(csv.field_size_limit(), self.max_bytes))
        waiting: deque[Line] = deque()  # read already, for rows that turned out to be none

        def take() -> Line | None:
            return waiting.popleft() if waiting else next(lines, None)

        while (line := take()) is not None:
            if line.defect is not None:
                yield line, []
                continue
            taken = [line]
            # Strict: otherwise a cell that is cut off would pass for a complete one.
            reader = csv.reader(self._texts(taken, take), delimiter=self.delimiter, strict=True)
            try:
                row = next(reader)
            except csv.Error as error:
                yield _damaged(line, str(error))
                waiting.extendleft(reversed(taken[1:]))
                continue
            damaged = [each for each in taken if each.defect is not None]
            yield _damaged(line, "a line in it is damaged") if damaged else (line, row)
            yield from ((each, []) for each in damaged)

    def _texts(self, taken: list[Line], take: Callable[[], Line | None]) -> Iterator[str]:
        """Yields the texts of lines from the one taken on, up to a length that no row has."""
        size, line = 0, taken[0]
        while size <= self.max_bytes:
            yield f"{line.text}\n"
            size += len(line.text)
            following = take()
            if following is None:
                return
            taken.append(following)
            line = following


def _damaged(line: Line, cause: str) -> Row:
    return replace(line, defect=defect("not CSV", line.place, cause, line.text)), []


__all__ = ["TableReader"]
