"""Reading JSON Lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.lines import Line, LinesReader
from kebyt5.corpus.readers.reader import defect
from kebyt5.corpus.readers.values import check_path, parse, text_at

_BLANKS = " \t\n\r\v\f"
"""ASCII's; a line of others is not JSON."""


@dataclass(kw_only=True)
class JSONLinesReader(LinesReader):
    """Reads one document per line, a JSON object."""

    text: str = "text"
    """Name or JMESPath of the text in an object; several texts become lines of one document."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("text", self.text)

    def _documents(self, lines: Iterator[Line]) -> Iterator[Document]:
        for line in lines:
            if line.defect is not None:
                yield line.defect
            elif line.text.strip(_BLANKS):
                yield from self._document(line)

    def _document(self, line: Line) -> Iterator[Document]:
        try:
            value = parse(line.text)
        except json.JSONDecodeError as error:
            yield defect("not JSON", line.place, str(error), line.text, line.size)
        else:
            yield from text_at(self.text, value, line.place)
