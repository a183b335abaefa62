"""Which documents are dropped, why, and how many."""

from collections.abc import Callable

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from kebyt5.corpus.config import Filters
from kebyt5.corpus.statistics import hangul_share

Rule = Callable[[str, Filters], str | None]
"""Gives the reason to drop a text, if there is one."""


def empty(text: str, filters: Filters) -> str | None:
    """A text of nothing but blanks."""
    return None if text and not text.isspace() else "empty"


def length(text: str, filters: Filters) -> str | None:
    """A text that is too short or too long."""
    if len(text) < filters.min_characters:
        return f"under {filters.min_characters:,} characters"
    if filters.max_characters is not None and len(text) > filters.max_characters:
        return f"over {filters.max_characters:,} characters"
    return None


def hangul(text: str, filters: Filters) -> str | None:
    """A text with too little Hangul."""
    if hangul_share(text) < filters.min_hangul:
        return f"under {filters.min_hangul:.0%} Hangul"
    return None


def repeated_lines(text: str, filters: Filters) -> str | None:
    """A text with many lines twice, as lists and menus have them (Rae et al. 2021, table A1)."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) - len(set(lines)) > filters.max_repeated_lines * len(lines):
        return f"over {filters.max_repeated_lines:.0%} repeated lines"
    return None


RULES: tuple[Rule, ...] = (empty, length, hangul, repeated_lines)


class Keep(BaseFilter):
    """Drops what the readers could not read and what one of the rules gives a reason for."""

    name = "filters"

    def __init__(self, filters: Filters, exclusion_writer: object) -> None:
        super().__init__(exclusion_writer)
        self.filters = filters

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """True, or False and the reason."""
        if reason := doc.metadata.get("defect"):
            return False, reason
        for rule in RULES:
            if reason := rule(doc.text, self.filters):
                return False, reason
        return True


__all__ = ["RULES", "Keep"]
