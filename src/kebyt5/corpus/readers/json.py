"""Reading JSON files with many documents each, such as AIHub's, alone or in a zip file.

Every data set of AIHub has its own structure, so two paths say where documents and their texts are.
For `{"data": [{"paragraphs": [{"context": …}, …]}, …]}` these are `data[]` and
`paragraphs[].context`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from datatrove.data import Document

from kebyt5.corpus.readers.encodings import NotText, decode
from kebyt5.corpus.readers.files import open_members
from kebyt5.corpus.readers.reader import Reader, defect
from kebyt5.corpus.readers.values import check_path, find, parse, text_at

_DATA = re.compile(r"\.(zip|7z|rar|tar|t?gz|t?bz2|t?xz|t?zst|jsonl|ndjson|part\d+)$", re.IGNORECASE)
_REMEDY = "unpack it first, or make it a separate source"


@dataclass(kw_only=True)
class JSONReader(Reader):
    """Reads JSON files. In archives, files with other extensions than `.json` are skipped.

    An archive without any `.json` file is a defect, as is an archive or `.jsonl` within an archive.
    """

    max_bytes: int = 1 << 30
    """Largest file, since files are read as a whole; a larger one is a defect."""

    documents: str = "[]"
    """JMESPath from the top of the file to its documents."""

    text: str = "text"
    """JMESPath from a document to its text. Several texts become lines of the document; parts
    without text are counted as a defect in addition to the document."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("documents", self.documents)
        check_path("text", self.text)

    def _read(self, file: str) -> Iterator[Document]:
        names = []
        for name, stream in open_members(file):
            if name != file and not name.lower().endswith(".json"):
                if _DATA.search(name):
                    yield defect("data in an archive that is not .json", name, _REMEDY)
                continue
            names.append(name)
            value = self._parsed(stream, name)
            if isinstance(value, Document):
                yield value
                continue
            found, missing = find(self.documents, value)
            if isinstance(found, dict):  # a file that is one document
                found = [found]
            documents = found if isinstance(found, list) else []
            if not documents:
                yield defect(f"no documents at {self.documents}", f"{name}:1")
            elif missing:
                reason = f"parts without documents at {self.documents}"
                yield defect(reason, f"{name}:1", f"{missing:,}")
            for number, part in enumerate(documents, 1):
                yield from text_at(self.text, part, f"{name}, document {number}")
        if not names:
            yield defect("no .json in this archive", f"{file}:1")

    def _parsed(self, stream: BinaryIO, name: str) -> Any:
        """Parses a file; returns its content, or a defect."""
        data = stream.read(self.max_bytes + 1)
        shown = data[:1000].decode(self.encoding, "replace")
        if len(data) > self.max_bytes:
            size = len(data) + sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
            return defect(f"file over {self.max_bytes:,} bytes", f"{name}:1", text=shown, size=size)
        try:
            return parse(decode(data, self.encoding, f"{name}:1"))
        except NotText as error:
            return defect(f"not {self.encoding}", f"{name}:1", str(error), shown, len(data))
        except json.JSONDecodeError as error:
            return defect("not JSON", f"{name}:{error.lineno}", error.msg, shown, len(data))
