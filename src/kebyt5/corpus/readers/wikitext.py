"""Reading wikitext in the format of kowikitext and namuwikitext (github.com/lovit).

An article begins with a line ` = 제목 = `; its sections with ` = = 절 = =`, ` = = = 항 = = =`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.reader import defect
from kebyt5.corpus.readers.text import Gathering, LinesReader

_TITLE = re.compile(r" = (?!= )(.*\S) = ?")
_SECTION = re.compile(r" (?:= ){2,}(.*?)(?: =){2,} ?")


@dataclass(kw_only=True)
class WikitextReader(LinesReader):
    """Reads articles: the title, then the text; headings become lines without their marks."""

    def _read(self, file: str) -> Iterator[Document]:
        gathering = Gathering(self.max_bytes)
        last, titled = "", False
        for name, number, line, _ in self.lines(file):
            if name != last:
                yield from gathering.finish()
                last, titled = name, False
            if isinstance(line, Document):
                yield line
            elif title := _TITLE.fullmatch(line):
                yield from gathering.finish()
                yield from gathering.add(title[1], f"{name}:{number}")
                titled = True
            elif titled:
                section = _SECTION.fullmatch(line)
                yield from gathering.add(section[1] if section else line, f"{name}:{number}")
            elif line.strip():
                yield defect("before the first title ` = … =`", f"{name}:{number}", text=line)
        yield from gathering.finish()


__all__ = ["WikitextReader"]
