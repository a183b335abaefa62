"""Reading the file formats of the tasks; errors name the file and the line."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kebyt5.encodings import decode_utf8
from kebyt5.errors import InputError, one_line
from kebyt5.models.offsets import has_surrogate

_NO_VALUE = re.compile(r"[\s,]*")


NAME_COMMENT = re.compile(r"##\s*(\S+)\t(.*)")
"""The comment `## name<TAB>sentence` above the rows of a sentence in KLUE's tables."""

ID_KEYS = ("guid", "id")
"""Fields that name a record, the first one first."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table, or one object of a JSON file.

    Attributes:
        fields: Values by the name of their column or key.
        place: `file:line` for error messages; in Parquet `file:row`.
        number: Position of the record in the file, from 1.
        is_unique: Whether no other record of the file has the same name.
    """

    fields: Mapping[str, Any]
    place: str
    number: int = 1
    is_unique: bool = True

    @property
    def name(self) -> str | None:
        """The name that the file gives the record, as text; None if it gives none."""
        for key in ID_KEYS:
            value = self.fields.get(key)
            if value is not None and value != "":
                return str(value) if isinstance(value, int | float) else self.text(key)
        return None

    @property
    def id(self) -> str:
        """The name that the file gives the record, or else its number.

        Where several have the same name, both: `name#number`.
        """
        if self.name is None:
            return str(self.number)
        return self.name if self.is_unique else f"{self.name}#{self.number}"

    def get(self, *names: str) -> Any:
        """Returns the value of the first of `names` that the record has.

        Raises:
            InputError: The record has none of them.
        """
        return self.fields[self._first(names)]

    def _first(self, names: Sequence[str]) -> str:
        for name in names:
            if name in self.fields:
                return name
        wanted = " or ".join(repr(name) for name in names)
        raise InputError(f"{self.place}: no {wanted} here; expected it, found {_list(self.fields)}")

    def text(self, *names: str) -> str:
        """Returns the value of the first of `names`, which has to be text.

        Raises:
            InputError: The record has none of them, or the value is not valid text.
        """
        name = self._first(names)
        value = self.fields[name]
        if isinstance(value, str):
            if has_surrogate(value):
                problem = "contains half of a surrogate pair, which is not a character"
                raise InputError(f"{self.place}: {name!r} {problem}; expected valid text")
            return value
        raise InputError(f"{self.place}: {name!r} is {_short(value)}; expected text")

    def part(self, name: str) -> "Record":
        """Returns the value of `name`, which has to be an object, as a record.

        Raises:
            InputError: The record has no such field, or its value is not an object.
        """
        value = self.get(name)
        if isinstance(value, Mapping):
            return Record(value, self.place, self.number)
        raise InputError(f"{self.place}: {name!r} is {_short(value)}; expected an object")


def read_records(path: str | Path) -> list[Record]:
    """Reads the records of a file by its extension, by default a table separated by tabs.

    Raises:
        InputError: The file cannot be read, is malformed, or contains no record.
    """
    readers = {
        ".json": json_records,
        ".jsonl": jsonl_records,
        ".csv": _csv_records,
        ".parquet": _parquet_records,
    }
    records = list(readers.get(Path(path).suffix.lower(), _table_records)(path))
    if not records:
        raise InputError(f"{path}:1: the file contains no examples; expected at least one")
    times = Counter(record.name for record in records)
    return [replace(record, is_unique=times[record.name] == 1) for record in records]


def read_text(path: str | Path) -> str:
    """Reads a UTF-8 file without its byte order mark.

    Raises:
        InputError: The file cannot be read, or is not UTF-8.
    """
    return decode_utf8(_read_bytes(path), str(path))


def read_lines(path: str | Path) -> list[tuple[int, str]]:
    """Reads the lines of a UTF-8 file, numbered from 1.

    Only LF and CRLF end a line; characters such as U+2028 and U+0085 belong to the text.
    """
    lines = read_text(path).split("\n")
    return [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1)]


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: The file is not JSON; names the line.
    """
    return _parse_json(read_text(path), path)


def read_parquet(path: str | Path) -> list[dict[str, Any]]:
    """Reads the rows of a Parquet file, such as those of `klue/klue` on the hub.

    Raises:
        InputError: The file cannot be read, or is not Parquet.
    """
    import pyarrow
    from pyarrow import parquet

    data = _read_bytes(path)
    try:
        return parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}:1: {reason}; expected a whole Parquet file") from error


def _read_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _parse_json(text: str, path: str | Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"not JSON ({error.msg} at column {error.colno})"
        raise InputError(f"{path}:{error.lineno}: {problem}; expected a whole JSON file") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise InputError(f"{path}:1: not JSON ({error}); expected a whole JSON file") from error
    except RecursionError as error:
        raise InputError(f"{path}:1: nested too deeply; expected a list of objects") from error


def json_records(path: str | Path) -> Iterator[Record]:
    """Yields the objects of a JSON file, which has to be a list of them.

    Raises:
        InputError: The file cannot be read, or is something else; names the line.
    """
    text = read_text(path)
    records = _parse_json(text, path)
    if not isinstance(records, list):
        raise InputError(f"{path}:1: not a list at the top; expected a list of objects")
    # The parser does not report positions, so each object is decoded once more to find its line.
    decoder = json.JSONDecoder()
    position, line, counted = text.index("[") + 1, 1, 0
    for number, record in enumerate(records, 1):
        if match := _NO_VALUE.match(text, position):
            position = match.end()
        line += text.count("\n", counted, position)
        counted = position
        if not isinstance(record, dict):
            raise InputError(
                f"{path}:{line}: record {number} is {_short(record)}; expected an object"
            )
        yield Record(record, f"{path}:{line}", number)
        _, position = decoder.raw_decode(text, position)


def jsonl_records(path: str | Path) -> Iterator[Record]:
    """Yields the objects of a file with one per line; blank lines are skipped.

    Raises:
        InputError: The file cannot be read, or a line is something else; names the line.
    """
    lines = [(number, line) for number, line in read_lines(path) if line.strip()]
    for row, (number, line) in enumerate(lines, 1):
        place = f"{path}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{place}: not JSON ({error}); expected one object per line"
            ) from error
        if not isinstance(fields, dict):
            raise InputError(f"{place}: not an object; expected one per line")
        yield Record(fields, place, row)


def _parquet_records(path: str | Path) -> Iterator[Record]:
    for row, fields in enumerate(read_parquet(path), 1):
        yield Record(fields, f"{path}:{row}", row)


def _csv_records(path: str | Path) -> Iterator[Record]:
    """Reads a table with a header and fields separated by commas, quoted if necessary.

    One whose header has tabs and no comma is separated by tabs, whatever the file is called.
    """
    text = read_text(path)
    head = text.lstrip("\r\n").partition("\n")[0]
    if "\t" in head and "," not in head:
        yield from _table_records(path)
        return
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a field may be a whole document
    # Not universal newlines: a line end inside quotes belongs to the field.
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    line = 1
    try:
        number = 0
        for row in rows:
            place, line = f"{path}:{line}", rows.line_num + 1
            if not "".join(row).strip():
                continue
            if not columns:
                columns = _unique(row, place)
            elif len(row) != len(columns):
                names = ", ".join(columns)
                raise InputError(f"{place}: {len(row)} columns; expected {len(columns)}: {names}")
            else:
                number += 1
                yield Record(dict(zip(columns, row, strict=True)), place, number)
    except csv.Error as error:
        raise InputError(f"{path}:{line}: {error}; expected fields separated by commas") from error


def _table_records(path: str | Path) -> Iterator[Record]:
    """Reads a tab-separated table with a header; quotes are ordinary characters."""
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    first, head = next(lines, (1, ""))
    columns = _unique(head.split("\t"), f"{path}:{first}")
    for row, (number, line) in enumerate(lines, 1):
        values = line.split("\t")
        place = f"{path}:{number}"
        if len(values) != len(columns):
            expected = f"expected {len(columns)}, separated by tabs: {_list(columns)}"
            raise InputError(f"{place}: {len(values)} column(s); {expected}")
        yield Record(dict(zip(columns, values, strict=True)), place, row)


def _unique(columns: list[str], place: str) -> list[str]:
    """Refuses columns of one name, of which only the last would count."""
    for name in columns:
        if name.strip() and columns.count(name) > 1:
            raise InputError(f"{place}: two columns are named {name!r}; expected each name once")
    return columns


def _list(names: Any) -> str:
    return _short(", ".join(str(name) for name in names), 100)


def _short(value: Any, length: int = 40) -> str:
    text = one_line(value if isinstance(value, str) else repr(value))
    return text if len(text) <= length else text[: length - 1] + "…"
