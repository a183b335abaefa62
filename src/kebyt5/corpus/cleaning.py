"""Cleaning texts, which is the first step after reading them."""

import re
import unicodedata

from datatrove.pipeline.formatters.base import BaseFormatter

from kebyt5.corpus.config import Cleaning
from kebyt5.models.offsets import replace_surrogates

# Control characters except tabs and line ends, byte order marks, and noncharacters.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_RARE_BLANK = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_BLANKS = re.compile(r"(?<=\S)(?:[ \t]{2,}|\t)(?=\S)")


def clean(text: str, options: Cleaning) -> str:
    """Cleans a text.

    Line ends become line feeds, control characters and trailing blanks of lines are removed, and
    consecutive empty lines become one. The options control the rest.
    """
    text = _CONTROL.sub("", text)
    text = replace_surrogates(text)
    if options.nfc:
        text = unicodedata.normalize("NFC", text)
    if options.blanks:
        text = _RARE_BLANK.sub(" ", text)
        if "  " in text or "\t" in text:
            text = _BLANKS.sub(" ", text)
    kept: list[str] = []
    last = ""
    for line in map(str.rstrip, text.splitlines()):
        if line:
            if options.repeated_lines and line == last:
                continue
            last = line
        elif not kept or not kept[-1]:
            continue
        kept.append(line)
    return "\n".join(kept).removesuffix("\n")


class Clean(BaseFormatter):
    """A pipeline step that cleans the text of every document."""

    name = "clean"

    def __init__(self, options: Cleaning) -> None:
        super().__init__()
        self.options = options

    def format(self, text: str) -> str:
        """Cleans a text."""
        return clean(text, self.options)
