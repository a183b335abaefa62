"""Topic of a news headline (KLUE-TC, also called YNAT)."""

from collections.abc import Sequence
from typing import ClassVar

from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.metrics.classification import accuracy, macro_f1
from kebyt5.tasks.task import Example


class YNAT(LabelTask):
    """KLUE-TC: one of seven topics."""

    name: ClassVar[str] = "ynat"
    title: ClassVar[str] = "Topic of a headline (KLUE-TC)"
    formats: ClassVar[str] = "KLUE-TC json, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("title",)
    main_score: ClassVar[str] = "macro_f1"
    labels = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")

    def input_text(self, example: Example) -> str:
        """Returns the headline in the published prompt."""
        return f"KLUE YNAT task: {example.inputs['title']}\n"

    def metrics(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        """Computes accuracy and the official macro F1 over the topics in gold or prediction."""
        return {
            "macro_f1": macro_f1(gold, predicted, self.labels),
            "accuracy": accuracy(gold, predicted),
        }
