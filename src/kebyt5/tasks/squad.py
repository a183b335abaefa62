"""Questions about contexts, as SQuAD and the data sets after it keep them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kebyt5.errors import InputError
from kebyt5.tasks.files import Record, read_json, read_records, read_text
from kebyt5.tasks.fitting import size, windows
from kebyt5.tasks.task import Example, Task


@dataclass(frozen=True, slots=True)
class Answers:
    """What is right to answer.

    Attributes:
        texts: The right answers, the first of which is the target.
        plausible: What seems right, but is not.
    """

    texts: tuple[str, ...]
    plausible: tuple[str, ...] = ()

    def __contains__(self, text: str) -> bool:
        return text in self.texts


@dataclass(frozen=True, slots=True)
class Question:
    """One question as a file has it."""

    id: str
    question: str
    context: str
    answers: Answers
    is_impossible: bool
    place: str

    def example(self, gold: Answers) -> Example:
        """The question as an example."""
        inputs = {"question": self.question, "context": self.context}
        return Example(self.id, inputs, gold, self.place)


def read_questions(path: str | Path) -> list[Question]:
    """Reads the questions of a SQuAD-like JSON file, or the rows of a Parquet file.

    Raises:
        InputError: The file cannot be read, or a record is not as it should be; names its line
            (in JSON that of the last name of a question) and where in the structure it is.
    """
    if Path(path).suffix.lower() == ".parquet":
        return [_question(row, row.text("context"), row.place) for row in read_records(path)]
    text, position, line = read_text(path), 0, 1
    root = read_json(path)
    questions = []
    try:
        for article in _parts(Record({"file": root}, "").part("file"), "data"):
            for paragraph in _parts(article, "paragraphs"):
                context = paragraph.text("context")
                for record in _parts(paragraph, "qas"):
                    # The parser does not tell where a record was; its name, once in a file, does.
                    found = max(position, text.find(f'"{record.id}"', position))
                    line += text.count("\n", position, found)
                    position = found
                    questions.append(_question(record, context, f"{path}:{line}"))
    except InputError as error:
        raise InputError(f"{path}:{line}: {str(error).removeprefix(': ')}") from error
    if not questions:
        raise InputError(f"{path}:1: no questions here; expected at least one")
    return questions


def gold_answers(example: Example) -> Answers:
    """The gold of an example that has to have it."""
    if not isinstance(example.gold, Answers):
        raise ValueError(f"no gold answers for the question {example.inputs['question']!r}")
    return example.gold


def context_windows(task: Task, example: Example, max_bytes: int, stride: int) -> list[Example]:
    """Windows over the context, each under the whole question.

    A window's gold is what of the gold it shows; None where it shows none of the answers.

    Args:
        task: Whose input text has to fit.
        example: An example with a context.
        max_bytes: What the input text may have.
        stride: From the beginning of a window to that of the next, in bytes; not more than the
            question leaves room for is taken.

    Raises:
        InputError: The question leaves no room for a context.
    """
    context = example.inputs["context"]

    def show(part: str) -> Example:
        gold = None
        if example.gold is not None:
            texts = tuple(text for text in gold_answers(example).texts if text in part)
            gold = replace(example.gold, texts=texts) if texts else None
        return replace(example, inputs={**example.inputs, "context": part}, gold=gold)

    room = max_bytes - size(task.input_text(show("")))
    if size(context) <= room:
        return [example]
    if room < 4:
        raise InputError(
            f"{example.place or example.id}: the question leaves no room for the context within"
            f" {max_bytes} bytes; shorten it, or raise the limit"
        )
    return [show(part) for part in windows(context, room, min(stride, room))]


def _question(record: Record, context: str, place: str) -> Question:
    name = record.text("guid", "id")
    question = record.text("question")
    answers = _texts(record.get("answers"))
    plausible = _texts(record.fields.get("plausible_answers"))
    is_impossible = bool(record.fields.get("is_impossible"))
    if answers is None or plausible is None or not (answers or is_impossible):
        raise InputError(
            f"{record.place}: question {name} has no answer; expected 'answers' with a 'text' each"
        )
    return Question(name, question, context, Answers(answers, plausible), is_impossible, place)


def _parts(parent: Record, name: str) -> Iterator[Record]:
    """Yields the objects of a list in an object, placed by their path in the file."""
    parts = parent.get(name)
    if not isinstance(parts, list):
        raise InputError(f"{parent.place}: {name!r} is no list; expected a list of objects")
    for number, fields in enumerate(parts):
        place = f"{parent.place}.{name}[{number}]".removeprefix(".")
        if not isinstance(fields, Mapping):
            raise InputError(f"{place} is no object; expected one")
        yield Record(fields, place)


def _texts(answers: Any) -> tuple[str, ...] | None:
    """Reads answers from a list of objects or, as in Parquet, an object of lists.

    Returns:
        The answers without empty ones and repetitions, or None where they are malformed.
    """
    if isinstance(answers, Mapping):
        texts = answers.get("text")
    else:
        parts = answers or []
        texts = isinstance(parts, list) and [p.get("text") for p in parts if isinstance(p, Mapping)]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    return tuple(dict.fromkeys(filter(None, texts)))
