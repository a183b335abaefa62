"""Reading wikitext in the format of kowikitext and namuwikitext (github.com/lovit).

An article begins with a line ` = 제목 = `; its sections with ` = = 절 = =`, ` = = = 항 = = =`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from datatrove.data import Document

from kebyt5.corpus.readers.lines import Line, LinesReader
from kebyt5.corpus.readers.reader import defect
from kebyt5.corpus.readers.text import Gathering

_TITLE = re.compile(r" = (?!= )(.*\S) = ?")
_SECTION = re.compile(r" (?:= ){2,}(.*?)(?: =){2,} ?")


@dataclass(kw_only=True)
class WikitextReader(LinesReader):
    """Reads articles: the title, then the text; headings become lines without their marks."""

    @property
    def divides(self) -> bool:
        """Always: a long paragraph is text like others."""
        return True

    def _documents(self, lines: Iterator[Line]) -> Iterator[Document]:
        gathering, titled = Gathering(self.max_bytes), False
        for line in lines:
            if line.defect is not None:
                yield line.defect
            elif title := _TITLE.fullmatch(line.text):
                yield from gathering.finish()
                yield from gathering.add(title[1], line.place)
                titled = True
            elif titled:
                section = _SECTION.fullmatch(line.text)
                yield from gathering.add(section[1] if section else line.text, line.place)
            elif line.text.strip():
                yield defect("before the first title ` = … =`", line.place, text=line.text)
        yield from gathering.finish()
