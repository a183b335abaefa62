"""Any text to any text: correction, summarization, translation and the like."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from kebyt5.errors import InputError
from kebyt5.tasks.files import Record, read_lines, read_records, read_text
from kebyt5.tasks.fitting import size
from kebyt5.tasks.metrics.seq2seq import scores
from kebyt5.tasks.task import Example, Parsed, Task


class Seq2Seq(Task):
    """The column `text` is what the model reads, the column `target` what it should write."""

    name: ClassVar[str] = "seq2seq"
    title: ClassVar[str] = "Free text to text"
    formats: ClassVar[str] = "tsv, csv, jsonl, json, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("text",)
    main_score: ClassVar[str] = "chrf"

    def read(self, path: str | Path) -> list[Example]:
        """Reads the columns `text` and `target`; others are not looked at.

        The name's end tells the format: `.jsonl` has an object a line, `.json` a list of objects,
        `.csv` fields divided by commas, quoted where need be, `.parquet` is Parquet, anything else
        has fields divided by tabs. The first line of a CSV or TSV file names the columns.
        """
        readers = {".jsonl": _jsonl, ".csv": _csv}
        examples = []
        for record in readers.get(Path(path).suffix.lower(), read_records)(path):
            text, target = (record.text(column) for column in ("text", "target"))
            if not text or not target:
                empty = "target" if text else "text"
                raise InputError(f"{record.place}: {empty!r} is empty; expected some text")
            examples.append(Example(record.id, {"text": text}, target, record.place))
        if not examples:
            raise InputError(f"{path}:1: the file holds no examples; expected at least one")
        return examples

    def input_text(self, example: Example) -> str:
        """The text as it is."""
        return example.inputs["text"]

    def target_text(self, example: Example) -> str:
        """The target as it is."""
        if example.gold is None:
            raise ValueError(f"no target for the text {example.inputs['text']!r}")
        return example.gold

    def parse(self, text: str, example: Example) -> Parsed:
        """Takes the text as it is."""
        return Parsed(text, None if text.strip() else "empty")

    def score(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> dict[str, float]:
        """The scores of `metrics.seq2seq.scores` and `unparsed`, the number of empty texts."""
        result = scores([self.target_text(example) for example in examples], generated_texts)
        return {**result, "unparsed": float(sum(not text.strip() for text in generated_texts))}

    def max_target_bytes(self, example: Example) -> int:
        """Twice the text and some more."""
        return 2 * size(example.inputs["text"]) + 256

    def answer(self, parsed: Parsed, example: Example) -> str:
        """The text."""
        return parsed.value


def _jsonl(path: str | Path) -> Iterator[Record]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{place}: not JSON ({error}); expected an object a line") from error
        if not isinstance(fields, dict):
            raise InputError(f"{place}: no object; expected one with 'text' and 'target'")
        yield Record(fields, place)


def _csv(path: str | Path) -> Iterator[Record]:
    # Not universal newlines: a line end inside quotes belongs to the field.
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns: list[str] = []
    line = 1
    try:
        for row in rows:
            place, line = f"{path}:{line}", rows.line_num + 1
            if not row:
                continue
            if not columns:
                columns = row
            elif len(row) != len(columns):
                names = ", ".join(columns)
                raise InputError(
                    f"{place}: {len(row)} columns; expected {len(columns)}, by commas: {names}"
                )
            else:
                yield Record(dict(zip(columns, row, strict=True)), place)
    except csv.Error as error:
        raise InputError(f"{path}:{line}: {error}; expected fields divided by commas") from error
