"""Counting documents and bytes by source and reason, separately in every task."""

import json
import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from datatrove.data import Document
from datatrove.pipeline.writers.jsonl import JsonlWriter

from kebyt5.models.offsets import byte_length
from kebyt5.output import write_json

Counts = dict[str, dict[str, list[int]]]
"""Number of documents and bytes, by source and reason."""


class Tally:
    """The counts of one task, written to a file named by the task's rank.

    Args:
        folder: Folder for the files of all tasks.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.counts: Counts = {}

    def count(self, document: Document, reason: str) -> None:
        """Counts a document."""
        reasons = self.counts.setdefault(document.metadata["source"], {})
        entry = reasons.setdefault(reason, [0, 0])
        entry[0] += 1
        size = document.metadata.get("size")  # a defect keeps only the beginning of its text
        entry[1] += byte_length(document.text) if size is None else size

    def write(self, rank: int) -> None:
        """Writes the counts and resets them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / f"{rank:05d}.json", self.counts)
        self.counts = {}


def read_tallies(folder: str | os.PathLike[str]) -> Counts:
    """Sums the counts of all tasks."""
    total: defaultdict[str, defaultdict[str, list[int]]]
    total = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for path in sorted(Path(folder).glob("*.json")):
        for source, reasons in json.loads(path.read_text(encoding="utf-8")).items():
            for reason, (documents, size) in reasons.items():
                entry = total[source][reason]
                entry[0] += documents
                entry[1] += size
    return {source: dict(reasons) for source, reasons in total.items()}


class Rejects:
    """Counts what a filter drops, and optionally writes it; replaces datatrove's exclusion writer.

    Args:
        tally: Folder for the counts.
        reason: Reason for documents without a `filter_reason` in their metadata.
        texts: Folder for the dropped documents as JSON Lines; None not to write them.
    """

    def __init__(self, tally: Path, reason: str = "", texts: Path | None = None) -> None:
        self.tally = Tally(tally)
        self.reason = reason
        self.writer = JsonlWriter(str(texts), compression="gzip") if texts else None
        self.rank: int | None = None

    def write(self, document: Document, rank: int) -> None:
        """Counts a document and, if wanted, writes it."""
        self.rank = rank
        reason = document.metadata.setdefault("filter_reason", self.reason)
        self.tally.count(document, reason)
        if self.writer is not None:
            self.writer.write(document, rank)

    def __enter__(self) -> Self:
        self.rank, self.tally.counts = None, {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:  # the task failed, so its counts are not written
            with suppress(OSError):
                self._close()
            return
        self._close()
        if self.rank is not None:
            self.tally.write(self.rank)

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
