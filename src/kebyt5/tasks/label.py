"""Tasks whose answer is one of a few labels; a subclass states columns, labels and the prompt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rapidfuzz import fuzz, process

from kebyt5.errors import InputError
from kebyt5.tasks.files import Record, read_records
from kebyt5.tasks.fitting import shortened
from kebyt5.tasks.metrics.classification import LabelScore, accuracy, label_scores
from kebyt5.tasks.task import Example, Parsed, Task


class LabelTask(Task):
    """A classification task; the gold is the text of the label.

    A subclass sets the class attributes below and writes `input_text`; one with other scores than
    accuracy overrides `metrics`, one whose inputs are not simply columns overrides `inputs`.
    """

    labels: ClassVar[tuple[str, ...]]
    """All texts that may be generated; a number in a file counts them from 0."""

    names: ClassVar[Mapping[str, str]] = {}
    """The labels that files call by other names."""

    columns: ClassVar[Mapping[str, str]] = {}
    """The input fields that some files call by another name."""

    label_columns: ClassVar[tuple[str, ...]] = ("label",)
    """What files call the label."""

    main_score: ClassVar[str] = "accuracy"

    def read(self, path: str | Path) -> list[Example]:
        """Reads the official file formats of the task, told apart by the name's end.

        `.json` is a list of objects, `.parquet` the table on the hub, anything else a table of
        columns divided by tabs below a line of their names.
        """
        return [
            Example(record.id, self.inputs(record), self.label(record), record.place)
            for record in read_records(path)
        ]

    def inputs(self, record: Record) -> dict[str, str]:
        """The input fields of a record."""
        return {field: record.text(*self._columns(field)) for field in self.input_fields}

    def _columns(self, field: str) -> tuple[str, ...]:
        return (field, self.columns[field]) if field in self.columns else (field,)

    def label(self, record: Record) -> str:
        """The label of a record."""
        value = record.get(*self.label_columns)
        if label := self._label(value):
            return label
        known = ", ".join(self.names or self.labels)
        raise InputError(f"{record.place}: unknown label {str(value)[:40]!r}; expected {known}")

    def _label(self, value: Any) -> str | None:
        """The label that a file or a model means: its text, its name elsewhere, or its number."""
        if isinstance(value, str):
            label = self.names.get(value, value)
            if label in self.labels:
                return label
        number = _number(value)
        return self.labels[number] if number is not None and number < len(self.labels) else None

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Shortens the longest input fields, so that something of each stays."""
        return [shortened(self, example, max_bytes)]

    def target_text(self, example: Example) -> str:
        """The label."""
        return self.gold(example)

    def parse(self, text: str, example: Example) -> Parsed:
        """The label that the text means, or the one most similar to it, the first of equals."""
        if label := self._label(text):
            return Parsed(label)
        nearest = process.extractOne(text, self.labels, scorer=fuzz.ratio)
        return Parsed(nearest[0], "repaired" if text.strip() else "empty")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """The scores of `metrics`."""
        return self.metrics([self.gold(example) for example in examples], values)

    def label_scores(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> list[LabelScore]:
        """Of every label."""
        gold = [self.gold(example) for example in examples]
        parsed = [self.parse(t, e).value for e, t in zip(examples, generated_texts, strict=True)]
        return label_scores(gold, parsed, dict(zip(self.labels, self.labels, strict=True)))

    def metrics(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        """The scores of predicted labels."""
        return {"accuracy": accuracy(gold, predicted)}

    def max_target_bytes(self, example: Example) -> int:
        """The longest label, and a few bytes more that show an answer to be none."""
        return max(len(label.encode()) for label in self.labels) + 8

    def answer(self, parsed: Parsed, example: Example) -> Any:
        """The label."""
        return parsed.value

    def baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> list[str]:
        """The most frequent label of the training set."""
        ((label, _),) = Counter(self.gold(example) for example in train).most_common(1)
        return [label] * len(examples)


def _number(value: Any) -> int | None:
    """The number that a file writes as an integer or, in a table, as digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 5:
        return int(value)
    return None
