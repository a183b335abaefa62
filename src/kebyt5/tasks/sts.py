"""Semantic textual similarity (KLUE-STS, KorSTS)."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from kebyt5.errors import InputError
from kebyt5.tasks.files import Record, read_records
from kebyt5.tasks.fitting import truncated
from kebyt5.tasks.metrics.sts import paraphrase_f1, pearson
from kebyt5.tasks.task import Example, Parsed, Task

_NUMBER = re.compile(r"(?:(?<!\S)-)?\d*\.?\d+", re.ASCII)
_MAX = 5.0


class STS(Task):
    """KLUE-STS, KorSTS: the similarity of two sentences, from 0.0 to 5.0 in tenths.

    KLUE-STS has tenths. KorSTS has up to three decimals, which are rounded when read, so that gold
    and target text agree. On the KorSTS files this changes Pearson's r by less than a hundredth of
    a point and moves no pair across the threshold.
    """

    name: ClassVar[str] = "sts"
    title: ClassVar[str] = "Semantic textual similarity (KLUE-STS, KorSTS)"
    formats: ClassVar[str] = "KLUE-STS json, parquet; KorSTS tsv"
    input_fields: ClassVar[tuple[str, ...]] = ("sentence1", "sentence2")
    main_score: ClassVar[str] = "pearson"
    labels: ClassVar[tuple[str, ...]] = tuple(f"{tenths / 10:.1f}" for tenths in range(51))
    """All scores as generated text."""

    def read(self, path: str | Path) -> list[Example]:
        """Reads KLUE-STS (`.json`, `.parquet`) or KorSTS (a table with the column `score`)."""
        return [
            Example(
                record.id,
                {field: record.text(field) for field in self.input_fields},
                _gold(record),
                record.place,
            )
            for record in read_records(path)
        ]

    def input_text(self, example: Example) -> str:
        """Returns both sentences in the prompt."""
        first, second = (example.inputs[field] for field in self.input_fields)
        return f"task: STS\n\n문장1: {first}\n문장2: {second}\n"

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Truncates the longer sentence first, so that part of each remains."""
        return [truncated(self, example, max_bytes)]

    def target_text(self, example: Example) -> str:
        """Returns the score with one decimal."""
        return f"{self.gold(example):.1f}"

    def parse(self, text: str, example: Example) -> Parsed:
        """Reads the text as a score, or else the first number in it (from 0 to 5), or else 0."""
        if text in self.labels:
            return Parsed(float(text))
        if match := _NUMBER.search(text):
            return Parsed(min(max(0.0, float(match[0])), _MAX), "repaired")
        return Parsed(0.0, "no number" if text.strip() else "empty")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes Pearson's r and the F1 of the paraphrases, both official."""
        gold = [float(self.target_text(example)) for example in examples]
        return {"pearson": pearson(gold, values), "f1": paraphrase_f1(gold, values)}

    def max_target_bytes(self, example: Example) -> int:
        """Returns the length of a score and a few bytes, which tell a longer text from it."""
        return 8

    def to_json(self, parsed: Parsed, example: Example) -> Any:
        """Returns the score as a number."""
        return parsed.value

    def baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> list[str]:
        """Answers with the mean score of the training set."""
        mean = sum(example.gold for example in train) / len(train)
        return [f"{mean:.1f}"] * len(examples)


def _gold(record: Record) -> float:
    value = record.get("score", "labels")
    if isinstance(value, dict):
        value = record.part("labels").get("label")
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = -1.0
    if not 0 <= score <= _MAX:
        raise InputError(
            f"{record.place}: score {str(value)[:40]!r}; expected a number from 0 to {_MAX:.0f}"
        )
    return round(score, 1)


__all__ = ["STS"]
