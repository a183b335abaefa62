"""Sentiment of film reviews (NSMC)."""

from typing import ClassVar

from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.task import Example


class NSMC(LabelTask):
    """NSMC: a film review is positive (1 in the files) or negative (0)."""

    name: ClassVar[str] = "nsmc"
    title: ClassVar[str] = "Sentiment of film reviews (NSMC)"
    formats: ClassVar[str] = "NSMC txt"
    input_fields: ClassVar[tuple[str, ...]] = ("document",)
    labels = ("negative", "positive")

    def input_text(self, example: Example) -> str:
        """Returns the review in the published prompt."""
        return f"nsmc sentiment classification: {example.inputs['document']}"
