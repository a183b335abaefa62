"""Natural language inference (KLUE-NLI, KorNLI)."""

from collections.abc import Mapping
from typing import ClassVar

from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.task import Example


class NLI(LabelTask):
    """KLUE-NLI, KorNLI: a premise entails a hypothesis, contradicts it, or leaves it open."""

    name: ClassVar[str] = "nli"
    title: ClassVar[str] = "Natural language inference (KLUE-NLI, KorNLI)"
    formats: ClassVar[str] = "KLUE-NLI json, parquet; KorNLI tsv"
    input_fields: ClassVar[tuple[str, ...]] = ("premise", "hypothesis")
    columns: ClassVar[Mapping[str, str]] = {"premise": "sentence1", "hypothesis": "sentence2"}
    label_columns = ("gold_label", "label")
    labels = ("함의", "중립", "모순")
    names: ClassVar[Mapping[str, str]] = {
        "entailment": "함의",
        "neutral": "중립",
        "contradiction": "모순",
    }

    def group(self, example: Example) -> str:
        """Returns the premise; the labels of its other hypotheses all but tell that of one."""
        return example.inputs["premise"]

    def input_text(self, example: Example) -> str:
        """Returns both sentences in the published prompt."""
        premise, hypothesis = (example.inputs[field] for field in self.input_fields)
        return f"NLI, 전제: {premise}\n가설: {hypothesis}\n"
