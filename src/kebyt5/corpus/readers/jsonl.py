"""Reading JSON Lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.files import (
    NotText,
    decode,
    is_archive,
    open_members,
    read_lines,
    shows_encoding,
)
from kebyt5.corpus.readers.reader import Reader, defect
from kebyt5.corpus.readers.values import check_path, parse, text_at
from kebyt5.errors import InputError


@dataclass(kw_only=True)
class JSONLinesReader(Reader):
    """Reads one document per line, a JSON object."""

    text: str = "text"
    """Name or JMESPath of the text in an object; several texts become lines of one document."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("text", self.text)

    def _read(self, file: str) -> Iterator[Document]:
        for name, stream in open_members(file):
            if name != file and is_archive(name):
                yield defect("an archive in an archive", name, "unpack it first")
                continue
            begins, size, has_text = b"", 0, False
            for number, data, goes_on in read_lines(stream, self.max_bytes):
                place = f"{name}:{number}"
                if goes_on or size:
                    begins, size = begins or data[:1000], size + len(data)
                    if not goes_on:
                        reason = f"line over {self.max_bytes:,} bytes"
                        yield defect(reason, place, text=self._shown(begins), size=size)
                        begins, size = b"", 0
                elif data.strip():
                    try:
                        text = decode(data, self.encoding, place)
                    except (NotText, InputError) as error:
                        if isinstance(error, InputError) and not has_text:
                            raise  # the whole file is in another encoding
                        reason = f"not {self.encoding}"
                        yield defect(reason, place, str(error), self._shown(data), len(data))
                    else:
                        has_text = has_text or shows_encoding(text, data, self.encoding)
                        yield from self._documents(text, data, place)

    def _documents(self, text: str, data: bytes, place: str) -> Iterator[Document]:
        try:
            value = parse(text)
        except json.JSONDecodeError as error:
            yield defect("not JSON", place, str(error), self._shown(data), len(data))
        else:
            yield from text_at(self.text, value, place)

    def _shown(self, data: bytes) -> str:
        return data[:1000].decode(self.encoding, "replace")


__all__ = ["JSONLinesReader"]
