"""JSON Lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.files import NotText, decode, open_members, read_lines
from kebyt5.corpus.readers.reader import Reader, defect
from kebyt5.corpus.readers.values import check_path, parse, text_at


@dataclass(kw_only=True)
class JSONLinesReader(Reader):
    """One JSON object a line."""

    text: str = "text"
    """Where its text is: a name or a JMESPath; several texts become lines of one document."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("text", self.text)

    def _read(self, file: str) -> Iterator[Document]:
        for name, stream in open_members(file):
            begins, size = b"", 0
            for number, data, goes_on in read_lines(stream, self.max_bytes):
                if goes_on or size:
                    begins, size = begins or data[:1000], size + len(data)
                    if not goes_on:
                        reason = f"line over {self.max_bytes:,} bytes"
                        shown = begins.decode(self.encoding, "replace")
                        yield defect(reason, f"{name}:{number}", text=shown, size=size)
                        begins, size = b"", 0
                elif data.strip():
                    yield from self._documents(data, f"{name}:{number}")

    def _documents(self, data: bytes, place: str) -> Iterator[Document]:
        shown = data[:1000].decode(self.encoding, "replace")
        try:
            value = parse(decode(data, self.encoding, place))
        except NotText as error:
            yield defect(f"not {self.encoding}", place, str(error), shown, len(data))
        except json.JSONDecodeError as error:
            yield defect("not JSON", place, str(error), shown, len(data))
        else:
            yield from text_at(self.text, value, place)


__all__ = ["JSONLinesReader"]
