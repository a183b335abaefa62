"""Reading Parquet files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datatrove.data import Document

from kebyt5.corpus.readers.files import located
from kebyt5.corpus.readers.reader import Reader, defect, document, require_column
from kebyt5.corpus.readers.values import as_text
from kebyt5.errors import InputError

if TYPE_CHECKING:
    import pyarrow


@dataclass(kw_only=True)
class ParquetReader(Reader):
    """Reads a column of Parquet files; places name the row."""

    column: str = "text"
    """Name of the column with the text, or with lists of texts."""

    def _read(self, file: str) -> Iterator[Document]:
        import pyarrow
        from pyarrow import parquet

        row = 0
        try:
            filesystem, name = located(file)
            with filesystem.open(name, "rb") as stream:
                table = parquet.ParquetFile(stream)
                require_column(self.column, table.schema_arrow.names, file)
                for batch in table.iter_batches(1000, columns=[self.column]):
                    for value in batch.column(0):
                        row += 1
                        yield self._document(value, f"{file}:{row}")
        except (pyarrow.ArrowException, OSError) as error:
            cause = str(error).splitlines()[0]
            raise InputError(f"{file}: {cause}; expected a whole Parquet file") from error

    def _document(self, value: "pyarrow.Scalar", place: str) -> Document:
        try:
            text = as_text(value.as_py())
        except UnicodeDecodeError as error:  # Parquet does not check that strings are UTF-8
            return defect("not utf-8", place, str(error))
        return defect(f"no text at {self.column}", place) if text is None else document(text, place)
