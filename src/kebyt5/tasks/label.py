"""Base of the tasks whose answer is one of a few labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from unicodedata import is_normalized, normalize

from rapidfuzz import fuzz, process

from kebyt5.errors import InputError
from kebyt5.tasks.files import Record, read_records
from kebyt5.tasks.fitting import truncated
from kebyt5.tasks.metrics.classification import LabelScore, accuracy, label_scores
from kebyt5.tasks.task import Example, Parsed, Task


class LabelTask(Task):
    """A classification task; the gold is the text of the label.

    A subclass sets the class attributes below and implements `input_text`. It overrides `metrics`
    for scores other than accuracy, and `inputs` if its input fields are not simply columns.
    """

    labels: ClassVar[tuple[str, ...]]
    """All labels as generated text; a number in a file is an index into them, from 0."""

    names: ClassVar[Mapping[str, str]] = {}
    """Labels by the other names that files use for them."""

    columns: ClassVar[Mapping[str, str]] = {}
    """The other names of columns that some files use, by input field."""

    label_columns: ClassVar[tuple[str, ...]] = ("label",)
    """Names of the label's column; the first one that a record has counts."""

    main_score: ClassVar[str] = "accuracy"

    def read(self, path: str | Path) -> list[Example]:
        """Reads the official file formats of the task, told apart by their extension.

        A `.json` file is a list of objects, `.jsonl` has one in each line, `.parquet` is the table
        on the hub, `.csv` a table with commas, any other file one with tabs, both with a header.
        """
        return [
            Example(record.id, self.inputs(record), self.label(record), record.place)
            for record in read_records(path)
        ]

    def inputs(self, record: Record) -> dict[str, str]:
        """Extracts the input fields of a record."""
        return {field: record.text(*self._columns(field)) for field in self.input_fields}

    def _columns(self, field: str) -> tuple[str, ...]:
        return (field, self.columns[field]) if field in self.columns else (field,)

    def label(self, record: Record) -> str:
        """Extracts the label of a record.

        Raises:
            InputError: The record has no label, or one that is unknown.
        """
        value = record.get(*self.label_columns)
        if label := self._label(value):
            return label
        known = ", ".join(self.names or self.labels)
        raise InputError(f"{record.place}: unknown label {str(value)[:40]!r}; expected {known}")

    def _label(self, value: Any) -> str | None:
        """Resolves a label given by its text, by another name or by its number; None if unknown."""
        if isinstance(value, str):
            value = normalize("NFC", value)
            label = self.names.get(value, value)
            if label in self.labels:
                return label
        number = _number(value)
        return self.labels[number] if number is not None and number < len(self.labels) else None

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Truncates the longest input fields, so that part of each remains."""
        return [truncated(self, example, max_bytes)]

    def target_text(self, example: Example) -> str:
        """Returns the label."""
        return self.gold(example)

    def parse(self, text: str, example: Example) -> Parsed:
        """Reads the label that the text, a name or a number means, or else the most similar one.

        A text that resembles none is read as "", which is no label.
        """
        if label := self._label(text):
            return Parsed(label, None if is_normalized("NFC", text) else "repaired")
        if not text.strip():
            return Parsed("", "empty")
        names = {name.casefold(): name for name in (*self.labels, *self.names)}
        bare = normalize("NFC", text).strip()
        if label := self._label(names.get(bare.casefold(), bare)):
            return Parsed(label, "repaired")
        nearest, similarity, _ = process.extractOne(bare, self.labels, scorer=fuzz.ratio)
        return Parsed(nearest, "repaired") if similarity else Parsed("", "resembles no label")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics`."""
        return self.metrics([self.gold(example) for example in examples], values)

    def label_scores(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> list[LabelScore]:
        """Scores every label."""
        gold = [self.gold(example) for example in examples]
        parsed = [self.parse(t, e).value for e, t in zip(examples, generated_texts, strict=True)]
        return label_scores(gold, parsed, dict(zip(self.labels, self.labels, strict=True)))

    def metrics(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        """Computes the scores of predicted labels."""
        return {"accuracy": accuracy(gold, predicted)}

    def max_target_bytes(self, example: Example) -> int:
        """Returns the longest label's length and a few bytes, which tell a longer text from it."""
        return max(len(label.encode()) for label in self.labels) + 8

    def to_json(self, parsed: Parsed, example: Example) -> Any:
        """Returns the label; "" for a text that resembles none."""
        return parsed.value

    def baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> list[str]:
        """Answers with the most frequent label of the training set."""
        ((label, _),) = Counter(self.gold(example) for example in train).most_common(1)
        return [label] * len(examples)


def _number(value: Any) -> int | None:
    """Reads a non-negative number, given as an integer or as digits; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 5:
        return int(value)
    return None


__all__ = ["LabelTask"]
