"""Pipeline steps that read documents from files and write them to shards."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers.jsonl import JsonlReader

from kebyt5.corpus.config import Source
from kebyt5.corpus.shards import Shard, ShardWriter
from kebyt5.corpus.statistics import Statistics
from kebyt5.corpus.tally import Tally
from kebyt5.errors import InputError
from kebyt5.output import write_json


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, the unit of work.

    Attributes:
        source: Index of the source in the recipe.
        file: Name of the file for the source's reader.
    """

    source: int
    file: str


class ReadSources(PipelineStep):
    """Reads every `world_size`-th of all files, whichever source they belong to.

    The metadata of documents gets `source` and `priority` (highest for the source listed first).
    Input that cannot be a document has the metadata `defect`.

    Args:
        sources: The sources of the recipe.
        files: All files of all sources.
        strict: Whether to stop at a defect.
        tally: Folder for the counts of what was read.
    """

    type = "📖 - READER"
    name = "sources"

    def __init__(
        self, sources: Sequence[Source], files: Sequence[SourceFile], strict: bool, tally: Path
    ) -> None:
        super().__init__()
        self.sources = sources
        self.source_files = files
        self.strict = strict
        self.tally = Tally(tally)

    def run(
        self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """Yields the documents of this task's files."""
        for unit in self.source_files[rank::world_size]:
            source = self.sources[unit.source]
            replacements = [(re.compile(pattern), by) for pattern, by in source.replace]
            for document in source.reader.read(unit.file):
                if self.strict and "defect" in document.metadata:
                    detail = document.metadata["detail"]
                    reason = document.metadata["defect"] + (f" ({detail})" if detail else "")
                    raise InputError(
                        f"{document.id}: {reason}; fix it, or count such input as rejected"
                        " (`strict: false`)"
                    )
                document.metadata |= {"source": source.name, "priority": 65535 - unit.source}
                self.tally.count(document, "read")
                for pattern, by in replacements:
                    document.text = pattern.sub(by, document.text)
                yield document
        self.tally.write(rank)


class StoredDocuments(JsonlReader):
    """Reads the documents that this task stored, in the same order."""

    name = "stored documents"

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), compression=None, add_file_path=False)

    def run(
        self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """Yields the documents; none if the task stored none."""
        file = f"{rank:05d}.jsonl"
        if self.data_folder.isfile(file):
            yield from self.read_files_shard([file])

    def read_file(self, filepath: str) -> Iterator[Document]:
        """Yields the documents of a file; its parent would pass over damage and only log it.

        Raises:
            InputError: A line is damaged.
        """
        with self.data_folder.open(filepath, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    document = Document(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise InputError(
                        f"{self.data_folder.resolve_paths(filepath)}:{number}: damaged: {error};"
                        " build the corpus in a new folder"
                    ) from error
                yield document


class WriteShards(PipelineStep):
    """Writes documents to shards in `OUTPUT/SPLIT/SOURCE/`, and their statistics to a file.

    Args:
        output: Folder of the corpus.
        validation: Share of documents for validation.
        shard_bytes: Largest size of a shard.
        statistics: Folder for the statistics of each task.
    """

    type = "💽 - WRITER"
    name = "shards"

    def __init__(self, output: Path, validation: float, shard_bytes: int, statistics: Path) -> None:
        super().__init__()
        self.output = output
        self.validation = validation
        self.shard_bytes = shard_bytes
        self.statistics = statistics

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> None:
        """Writes all documents of this task."""
        writers: dict[tuple[str, str], ShardWriter] = {}
        with ExitStack() as stack:
            for document in data:
                source = cast(str, document.metadata["source"])
                key = (split_of(document.text, self.validation), source)
                if key not in writers:
                    folder = self.output / key[0] / source
                    writer = ShardWriter(folder, f"{rank:05d}", self.shard_bytes)
                    writers[key] = stack.enter_context(writer)
                writers[key].write(document.text)
                self.stat_update(key[0])
        self.statistics.mkdir(parents=True, exist_ok=True)
        write_json(self.statistics / f"{rank:05d}.json", self._statistics(writers, rank))

    def _statistics(
        self, writers: dict[tuple[str, str], ShardWriter], rank: int
    ) -> dict[str, dict[str, Any]]:
        """Counts the shards of this task, by split and source."""
        found: dict[str, dict[str, Any]] = {}
        for (split, source), writer in sorted(writers.items()):
            manifests = sorted(writer.folder.glob(f"{rank:05d}-*.manifest.json"))
            total = sum((Statistics.of(Shard(path)) for path in manifests), Statistics())
            found.setdefault(split, {})[source] = total.to_json()
        return found


def split_of(text: str, validation: float) -> str:
    """Assigns a document to a split, by its text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    is_held_out = int.from_bytes(digest) < validation * 2**64
    return "validation" if is_held_out else "train"
