"""The rules by which documents are dropped."""

from collections.abc import Callable

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from kebyt5.corpus.config import Filters
from kebyt5.corpus.statistics import hangul_share

Rule = Callable[[str, Filters], str | None]
"""Returns the reason to drop a text; None to keep it."""


def empty(text: str, filters: Filters) -> str | None:
    """Drops a text that consists only of blanks."""
    return None if text and not text.isspace() else "empty"


def length(text: str, filters: Filters) -> str | None:
    """Drops a text that is too short or too long."""
    if len(text) < filters.min_characters:
        return f"under {filters.min_characters:,} characters"
    if filters.max_characters is not None and len(text) > filters.max_characters:
        return f"over {filters.max_characters:,} characters"
    return None


def hangul(text: str, filters: Filters) -> str | None:
    """Drops a text with too little Hangul."""
    if hangul_share(text) < filters.min_hangul:
        return f"under {filters.min_hangul:.0%} Hangul"
    return None


def repeated_lines(text: str, filters: Filters) -> str | None:
    """Drops a text with many repeated lines, such as a menu (Rae et al. 2021, table A1)."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) - len(set(lines)) > filters.max_repeated_lines * len(lines):
        return f"over {filters.max_repeated_lines:.0%} repeated lines"
    return None


RULES: tuple[Rule, ...] = (empty, length, hangul, repeated_lines)


class Keep(BaseFilter):
    """A filter that drops defects of the readers, and documents for which a rule has a reason."""

    name = "filters"

    def __init__(self, filters: Filters, exclusion_writer: object) -> None:
        super().__init__(exclusion_writer)
        self.filters = filters

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Returns True to keep a document, or False and the reason to drop it."""
        if reason := doc.metadata.get("defect"):
            return False, reason
        for rule in RULES:
            if reason := rule(doc.text, self.filters):
                return False, reason
        return True
