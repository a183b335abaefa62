"""Reading tables with a header: tab-separated like NSMC, or CSV."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from datatrove.data import Document

from kebyt5.corpus.readers.lines import Line, LinesReader
from kebyt5.corpus.readers.reader import defect, document, require_column
from kebyt5.errors import InputError

_QUOTE = '"'
_OPEN_CELL = "unexpected end of data"
"""The error of `csv` for a quoted cell without an end."""

Row = tuple[Line, list[str]]
"""The line that a row begins with, and its cells; no cells where the line has a defect."""


@dataclass(kw_only=True)
class TableReader(LinesReader):
    """Reads a column of a table; quoted cells of CSV may have line breaks in them."""

    column: str = "text"
    """Name of the column with the text."""

    delimiter: str = "\t"
    """Separator of the columns, "," for CSV; between tabs, quotes have no meaning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.delimiter) != 1:
            raise InputError(f"delimiter {self.delimiter!r}: has to be one character")

    def _documents(self, lines: Iterator[Line]) -> Iterator[Document]:
        """Yields the column's cells as documents; the first row has the names of the columns."""
        rows = self._split_at_tabs(lines) if self.delimiter == "\t" else self._parse_csv(lines)
        columns, wanted = 0, 0
        for line, row in rows:
            if line.defect is not None:
                yield line.defect
            elif not columns:
                self._require_separation(row, line.place)
                require_column(self.column, row, line.place)
                columns, wanted = len(row), row.index(self.column)
            elif not line.text.strip():
                yield document("", line.place)
            elif len(row) != columns:
                reason = "row with another number of columns"
                yield defect(reason, line.place, str(len(row)), line.text)
            else:
                yield document(row[wanted], line.place)

    def _require_separation(self, head: list[str], place: str) -> None:
        """Refuses a head of one cell that another delimiter would divide."""
        others = ",\t;|".replace(self.delimiter, "")
        found = next((mark for mark in others if mark in "".join(head)), None)
        if len(head) == 1 and found and head != [self.column]:
            remedy = f"set `delimiter: {json.dumps(found)}` for this source"
            raise InputError(f"{place}: only one column, {head[0][:100]!r}; {remedy}")

    def _split_at_tabs(self, lines: Iterator[Line]) -> Iterator[Row]:
        return ((line, line.text.split("\t")) for line in lines)

    def _parse_csv(self, lines: Iterator[Line]) -> Iterator[Row]:
        """Parses rows, whose quoted cells may go on in the next lines."""
        csv.field_size_limit(max(csv.field_size_limit(), self.max_bytes))
        for line in lines:
            row, is_open = self._parsed(line)
            yield from self._row_of_lines(line, lines) if is_open else (row,)

    def _row_of_lines(self, first: Line, following: Iterator[Line]) -> Iterator[Row]:
        """Parses a row from its first line on, up to the line that closes its quoted cell.

        If these lines are no row, all of them are defects, so that no fragment of one passes for a
        row. If none closes the cell, the first is the only one at fault.
        """
        taken, size, is_closed = [first], first.size, False
        for line in following:
            taken.append(line)
            size += line.size + 1
            # In a quoted cell a quote is written twice.
            is_closed = line.text.count(_QUOTE) % 2 == 1
            if is_closed or size > self.max_bytes:
                break
        if not is_closed:
            yield from (self._parsed(line)[0] for line in taken)
            return
        text = "\n".join(line.text for line in taken)
        row, _ = self._parsed(replace(first, text=text, size=size))
        is_row = row[1] and size <= self.max_bytes and all(line.defect is None for line in taken)
        yield from (row,) if is_row else map(_no_row, taken)

    def _parsed(self, line: Line) -> tuple[Row, bool]:
        """Parses a row; tells whether a cell is still open at its end, which makes it a defect."""
        if line.defect is not None:
            return (line, []), False
        try:
            texts = [f"{text}\n" for text in line.text.split("\n")]
            # Strict: otherwise a cell that is cut off would pass for a complete one.
            return (line, next(csv.reader(texts, delimiter=self.delimiter, strict=True))), False
        except csv.Error as error:
            return _no_row(line, str(error)), str(error) == _OPEN_CELL


def _no_row(line: Line, cause: str = "in a cell of several lines") -> Row:
    bad = line.defect or defect("not CSV", line.place, cause, line.text)
    return replace(line, defect=bad), []
