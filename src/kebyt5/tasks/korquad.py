"""Reading comprehension (KorQuAD 1.0): the model copies the answer out of the context."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from kebyt5.errors import InputError
from kebyt5.tasks.metrics.korquad import scores
from kebyt5.tasks.squad import Answers, context_windows, gold_answers, read_questions
from kebyt5.tasks.task import Example, Parsed, Task


class KorQuAD(Task):
    """KorQuAD 1.0: a question about a context, gold the `Answers` of which each is right."""

    name: ClassVar[str] = "korquad"
    title: ClassVar[str] = "Machine reading comprehension (KorQuAD 1.0)"
    formats: ClassVar[str] = "KorQuAD json, parquet"
    input_fields: ClassVar[tuple[str, ...]] = ("question", "context")
    main_score: ClassVar[str] = "f1"
    max_input_bytes: ClassVar[int] = 6144

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
        """The question and the context under the published prompt."""
        question, context = (example.inputs[field] for field in self.input_fields)
        return f"task: MRC\n\nquestion: {question}\n\ncontext: {context}\n"

    def target_text(self, example: Example) -> str:
        """The first gold answer."""
        return gold_answers(example).texts[0]

    def parse(self, text: str, example: Example) -> Parsed:
        """Takes the text as it is for the answer."""
        return Parsed(text, None if text.strip() else "empty")

    def score(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> dict[str, float]:
        """The scores of `metrics.korquad.scores` and `unparsed`."""
        parsed = [self.parse(t, e) for e, t in zip(examples, generated_texts, strict=True)]
        gold = [gold_answers(example).texts for example in examples]
        unparsed = sum(p.reason is not None for p in parsed)
        return {**scores(gold, [p.value for p in parsed]), "unparsed": float(unparsed)}

    def gold_of_target(self, target: str, example: Example) -> Answers:
        """The one right answer that the target gives; the data may have more."""
        return Answers((self.parse(target, example).value,))

    def max_target_bytes(self, example: Example) -> int:
        """More than any sensible answer has."""
        return 384

    def answer(self, parsed: Parsed, example: Example) -> str:
        """The answer."""
        return parsed.value

    def group(self, example: Example) -> str:
        """The context, about which there are several questions."""
        return example.inputs["context"]

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Windows over the context; those without an answer have no gold."""
        return context_windows(self, example, max_bytes, stride)
