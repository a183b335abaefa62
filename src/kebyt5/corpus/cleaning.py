"""What is done to a text before anything else looks at it."""

import re
import unicodedata

from datatrove.pipeline.formatters.base import BaseFormatter

from kebyt5.corpus.config import Cleaning

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Control characters but tab and line feed, marks of byte order, and what no text has.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile(r"(?<=\S)(?:[^\S\n]{2,}|[\t\xa0\u3000])(?=\S)")
_END_OF_LINE = re.compile(r"[^\S\n]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{3,}")
_REPEATED = re.compile(r"^([^\n]+)(?:\n+\1)+$", re.MULTILINE)


def clean(text: str, options: Cleaning) -> str:
    """Cleans a text.

    Ends of lines become line feeds and control characters disappear; of empty lines that follow
    each other one remains. The rest is as the options say.
    """
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROL.sub("", text)
    text = _SURROGATE.sub("\ufffd", text)
    if options.nfc:
        text = unicodedata.normalize("NFC", text)
    if options.blanks:
        text = _BLANKS.sub(" ", text)
    text = _END_OF_LINE.sub("", text)
    if options.repeated_lines:
        text = _REPEATED.sub(r"\1", text)
    return _EMPTY_LINES.sub("\n\n", text).strip("\n")


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
