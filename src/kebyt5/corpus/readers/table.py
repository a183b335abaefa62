"""Reading tables with a header: tab-separated like NSMC, or CSV."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.reader import defect, document
from kebyt5.corpus.readers.text import LinesReader, LongLine
from kebyt5.errors import InputError

_OPEN_CELL = "unexpected end of data"
"""The error of `csv` for a quoted cell that continues in the next line."""


@dataclass(kw_only=True)
class TableReader(LinesReader):
    """Reads a column of a table, one row per line; rows with quoted line breaks are defects."""

    column: str = "text"
    """Name of the column with the text."""

    delimiter: str = "\t"
    """Separator of the columns. Quotes have no meaning in a table separated by tabs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.delimiter) != 1:
            raise InputError(f"delimiter {self.delimiter!r}: has to be one character")

    def _read(self, file: str) -> Iterator[Document]:
        csv.field_size_limit(max(csv.field_size_limit(), self.max_bytes))
        last, columns, wanted = "", 0, 0
        continues = is_quoted = False
        long, quotes = LongLine(), 0
        for name, number, line, goes_on in self.lines(file):
            place = f"{name}:{number}"
            is_part, continues = continues or goes_on, goes_on
            is_quoted = is_quoted and name == last
            if isinstance(line, Document):
                yield line
            elif is_part:
                long.add(line)
                quotes += line.count('"')
            if is_part and not goes_on:
                yield from long.finish(f"row over {self.max_bytes:,} bytes", place)
                is_quoted, quotes = is_quoted and quotes % 2 == 0, 0
            if is_part or isinstance(line, Document):
                continue
            if is_quoted:
                is_quoted = line.count('"') % 2 == 0
                yield defect("not CSV", place, "a cell of several lines", line)
                continue
            try:
                row = self._row(line)
            except csv.Error as error:
                is_quoted = str(error) == _OPEN_CELL
                yield defect("not CSV", place, str(error), line)
                continue
            if name != last:
                last, names = name, row
                if self.column not in names:
                    found = ", ".join(names)[:100]
                    raise InputError(f"{place}: no column {self.column!r} among {found}")
                columns, wanted = len(names), names.index(self.column)
                continue
            if not line.strip():
                yield document("", place)
            elif len(row) != columns:
                yield defect("row with another number of columns", place, str(len(row)), line)
            else:
                yield document(row[wanted], place)

    def _row(self, line: str) -> list[str]:
        if self.delimiter == "\t":
            return line.split("\t")
        # Strict: otherwise a cell cut off by a line break would pass for a complete one.
        return next(csv.reader([line], delimiter=self.delimiter, strict=True), [])


__all__ = ["TableReader"]
