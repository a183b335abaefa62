"""What is done to a text before anything else looks at it."""

import re
import unicodedata

from datatrove.pipeline.formatters.base import BaseFormatter

from kebyt5.corpus.config import Cleaning

# Control characters but tabs and what ends a line, marks of byte order, and what no text has.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RARE_BLANK = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_BLANKS = re.compile(r"(?<=\S)(?:[ \t]{2,}|\t)(?=\S)")


def clean(text: str, options: Cleaning) -> str:
    """Cleans a text.

    Ends of lines become line feeds, control characters and blanks at the end of lines disappear; of
    empty lines that follow each other one remains. The rest is as the options say.
    """
    text = _CONTROL.sub("", text)
    text = _SURROGATE.sub("\ufffd", text)
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
    """Cleans the texts that come through."""

    name = "clean"

    def __init__(self, options: Cleaning) -> None:
        super().__init__()
        self.options = options

    def format(self, text: str) -> str:
        """Cleans a text."""
        return clean(text, self.options)


__all__ = ["Clean", "clean"]
