"""Reading comprehension (KorQuAD 1.0): the model copies the answer from the context."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from kebyt5.errors import InputError
from kebyt5.tasks.metrics.korquad import scores
from kebyt5.tasks.squad import QuestionTask, read_questions
from kebyt5.tasks.task import Example, Parsed


class KorQuAD(QuestionTask):
    """KorQuAD 1.0: a question about a context; the gold is its `Answers`, each of them right."""

    name: ClassVar[str] = "korquad"
    title: ClassVar[str] = "Machine reading comprehension (KorQuAD 1.0)"
    formats: ClassVar[str] = "KorQuAD json, parquet"
    main_score: ClassVar[str] = "f1"

    def read(self, path: str | Path) -> list[Example]:
        """Reads a KorQuAD 1.0 (SQuAD 1.1) JSON file, or a Parquet file with questions as rows."""
        questions = read_questions(path)
        for question in questions:
            if question.is_impossible:
                raise InputError(
                    f"{question.place}: question {question.id} cannot be answered, but every"
                    " question of KorQuAD 1.0 can; expected the task mrc for such data"
                )
        return [question.example(question.answers) for question in questions]

    def input_text(self, example: Example) -> str:
        """Returns the question and the context in the published prompt."""
        question, context = (example.inputs[field] for field in self.input_fields)
        return f"task: MRC\n\nquestion: {question}\n\ncontext: {context}\n"

    def target_text(self, example: Example) -> str:
        """Returns the first gold answer."""
        return self.gold(example).texts[0]

    def parse(self, text: str, example: Example) -> Parsed:
        """Takes the whole text as the answer."""
        return Parsed(text, None if text.strip() else "empty")

    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the scores of `metrics.korquad.scores`."""
        return scores([self.gold(example).texts for example in examples], values)

    def max_target_bytes(self, example: Example) -> int:
        """Returns more than any sensible answer needs."""
        return 384


__all__ = ["KorQuAD"]
