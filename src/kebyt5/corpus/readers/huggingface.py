"""Reading data sets in the format of Hugging Face's `datasets`, on the hub or local."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.data import Document

from kebyt5.corpus.readers.reader import Reader, defect, document, require_column
from kebyt5.corpus.readers.values import as_text
from kebyt5.errors import InputError, one_line


@dataclass(kw_only=True)
class HuggingFaceReader(Reader):
    """Reads a column of data sets; paths are hub names or folders, also of `save_to_disk`."""

    column: str = "text"
    """Name of the column with the text, or with lists of texts."""

    subset: str | None = None
    """Configuration of the data set."""

    split: str = "train"
    """Split of the data set."""

    streaming: bool = True
    """Read while downloading, instead of downloading all of it first."""

    shards: int = 1
    """Number of parts of the data set, which as many tasks can read in parallel."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards < 1:
            raise InputError(f"shards {self.shards}: has to be 1 or more")

    def files(self, paths: Sequence[str]) -> list[str]:
        """Divides every data set into `shards` parts, named `data set#part`."""
        return [f"{path}#{shard}" for path in paths for shard in range(self.shards)]

    def _read(self, file: str) -> Iterator[Document]:
        path, _, shard = file.rpartition("#")
        try:
            for row, values in enumerate(self._rows(path, int(shard)), 1):
                require_column(self.column, values, path)
                text = as_text(values[self.column])
                if text is None:
                    yield defect(f"no text at {self.column}", f"{file}:{row}")
                else:
                    yield document(text, f"{file}:{row}")
        except InputError:
            raise
        except Exception as error:  # the library passes on any exception from below
            cause = one_line(error)[:200]
            raise InputError(f"{path}: cannot be read as a data set: {cause}") from error

    def _rows(self, path: str, shard: int) -> Any:
        from datasets import load_dataset, load_from_disk
        from datasets.distributed import split_dataset_by_node

        if (Path(path) / "state.json").is_file():
            rows = load_from_disk(path)
        elif (Path(path) / "dataset_dict.json").is_file():
            rows = load_from_disk(path)[self.split]
        else:
            rows = load_dataset(path, self.subset, split=self.split, streaming=self.streaming)
        if hasattr(rows, "__len__") and shard >= len(rows):
            return []
        return split_dataset_by_node(rows, rank=shard, world_size=self.shards)
