"""Paraphrases with high lexical overlap (PAWS-X)."""

from typing import ClassVar

from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.task import Example


class PAWSX(LabelTask):
    """PAWS-X: two sentences have the same meaning (1 in the files) or not (0)."""

    name: ClassVar[str] = "pawsx"
    title: ClassVar[str] = "Paraphrase detection (PAWS-X)"
    formats: ClassVar[str] = "PAWS-X tsv, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("sentence1", "sentence2")
    labels = ("different", "paraphrase")

    def group(self, example: Example) -> str:
        """Returns the first sentence, which may have several paraphrases."""
        return example.inputs["sentence1"]

    def input_text(self, example: Example) -> str:
        """Returns both sentences in the published prompt."""
        first, second = (example.inputs[field] for field in self.input_fields)
        return f"paraphrase detection task:\n\nsentence-1: {first}\nsentence-2: {second}\n"
