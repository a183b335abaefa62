"""Free text to text: correction, summarization, translation and the like."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kebyt5.errors import InputError, one_line
from kebyt5.models.offsets import byte_length
from kebyt5.tasks.files import Record, read_records
from kebyt5.tasks.metrics.seq2seq import scores
from kebyt5.tasks.task import Example, Parsed, Task

_HUB = "hf:"


class Seq2Seq(Task):
    """Free text to text: the model reads the column `text` and should write the column `target`."""

    name: ClassVar[str] = "seq2seq"
    title: ClassVar[str] = "Free text to text"
    formats: ClassVar[str] = "tsv, csv, jsonl, json, parquet, Hugging Face data sets"
    input_fields: ClassVar[tuple[str, ...]] = ("text",)
    main_score: ClassVar[str] = "chrf"

    def read(self, path: str | Path) -> list[Example]:
        """Reads the columns `text` and `target`; other columns are ignored.

        The extension determines the format: `.jsonl` has one object per line, `.json` is a list of
        objects, `.csv` has fields separated by commas and quoted if necessary, `.parquet` is
        Parquet, and any other file has fields separated by tabs. The first line of a CSV or TSV
        file names the columns. A folder is a Hugging Face data set saved to disk, and
        `hf:owner/name:split` is one on the hub.
        """
        examples = []
        if str(path).startswith(_HUB) or Path(path).is_dir():
            records: Iterable[Record] = _dataset(str(path))
        else:
            records = read_records(path)
        for record in records:
            text, target = (record.text(column) for column in ("text", "target"))
            if not text or not target:
                empty = "target" if text else "text"
                raise InputError(f"{record.place}: {empty!r} is empty; expected some text")
            examples.append(Example(record.id, {"text": text}, target, record.place))
        if not examples:
            raise InputError(f"{path}:1: the file contains no examples; expected at least one")
        return examples

    def input_text(self, example: Example) -> str:
        """Returns the text unchanged."""
        return example.inputs["text"]

    def target_text(self, example: Example) -> str:
        """Returns the target unchanged."""
        return self.gold(example)

    def parse(self, text: str, example: Example) -> Parsed:
        """Takes the whole text as the answer."""
        return Parsed(text, None if text.strip() else "empty")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics.seq2seq.scores`."""
        return scores([self.gold(example) for example in examples], values)

    def max_target_bytes(self, example: Example) -> int:
        """Returns twice the length of the text, and some more."""
        return 2 * byte_length(example.inputs["text"]) + 256

    def to_json(self, parsed: Parsed, example: Example) -> str:
        """Returns the text."""
        return parsed.value


def _dataset(name: str) -> Iterator[Record]:
    """Reads a folder that `Dataset.save_to_disk` wrote, or a split of a data set on the hub."""
    import datasets

    try:
        if name.startswith(_HUB):
            repository, _, split = name.removeprefix(_HUB).partition(":")
            rows = datasets.load_dataset(repository, split=split or "train")
        else:
            rows = datasets.load_from_disk(name)
        if not isinstance(rows, datasets.Dataset):
            raise ValueError(f"it has the splits {', '.join(rows)}; name the folder of one")
    except Exception as error:  # the hub, the network or a damaged folder may raise anything
        cause = one_line(error)
        raise InputError(
            f"{name}: cannot be read as a data set: {cause}; expected a folder that"
            f" Dataset.save_to_disk wrote, or {_HUB}owner/name:split"
        ) from error
    for number, fields in enumerate(rows, 1):
        yield Record(fields, f"{name}:{number}", number)


__all__ = ["Seq2Seq"]
