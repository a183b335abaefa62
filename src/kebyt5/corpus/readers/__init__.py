"""The readers, one file each, and the registry that finds them by name."""

from difflib import get_close_matches

from kebyt5.corpus.readers.huggingface import HuggingFaceReader
from kebyt5.corpus.readers.json import JSONReader
from kebyt5.corpus.readers.jsonl import JSONLinesReader
from kebyt5.corpus.readers.kcbert import KcBERTReader
from kebyt5.corpus.readers.modu import ModuReader
from kebyt5.corpus.readers.parquet import ParquetReader
from kebyt5.corpus.readers.reader import Reader
from kebyt5.corpus.readers.table import TableReader
from kebyt5.corpus.readers.text import TextReader
from kebyt5.corpus.readers.wikitext import WikitextReader
from kebyt5.errors import InputError

READERS: dict[str, type[Reader]] = {
    "text": TextReader,
    "jsonl": JSONLinesReader,
    "json": JSONReader,
    "aihub": JSONReader,
    "modu": ModuReader,
    "kowikitext": WikitextReader,
    "namuwikitext": WikitextReader,
    "kcbert": KcBERTReader,
    "table": TableReader,
    "parquet": ParquetReader,
    "huggingface": HuggingFaceReader,
}


def get_reader(name: str) -> type[Reader]:
    """Returns the reader of that name.

    Raises:
        InputError: There is no such reader; the message suggests the nearest name.
    """
    if name not in READERS:
        near = get_close_matches(name, READERS, n=1, cutoff=0.0)
        raise InputError(
            f"unknown reader {name!r}, did you mean {near[0]!r}? Known: {', '.join(READERS)}"
        )
    return READERS[name]


__all__ = ["READERS", "Reader", "get_reader"]
