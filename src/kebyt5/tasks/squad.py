"""Questions about contexts, as SQuAD and the data sets after it keep them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kebyt5.errors import InputError
from kebyt5.tasks.files import Record, read_json, read_records, read_text
from kebyt5.tasks.fitting import size, windows
from kebyt5.tasks.task import Example, Task

_LEAST_ROOM = 8
"""Bytes of a context: a character, and half of them too, the least stride, without a gap."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is right to answer.

    Attributes:
        texts: The right answers, the first of which is the target.
        plausible: What seems right, but is not.
        starts: Where in the context each text stands, in characters, as far as the data says.
    """

    texts: tuple[str, ...]
    plausible: tuple[str, ...] = ()
    starts: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

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


def context_windows(
    task: Task, example: Example, max_bytes: int, stride: int | None
) -> list[Example]:
    """Windows over the context, each under the whole question.

    A window's gold is what of the gold it shows; None where it shows none of the answers.

    Args:
        task: Whose input text has to fit.
        example: An example with a context.
        max_bytes: What the input text may have.
        stride: From the beginning of a window to that of the next, in bytes; not more than the
            question leaves room for is taken, and half of that where it is None.

    Raises:
        InputError: The question leaves no room for a context.
    """
    context = example.inputs["context"]
    frame = replace(example, inputs={**example.inputs, "context": ""})
    room = max_bytes - size(task.input_text(frame))
    if size(context) <= room:
        return [example]
    if room < _LEAST_ROOM:
        raise InputError(
            f"{example.place or example.id}: the question leaves no room for the context within"
            f" {max_bytes} bytes; shorten it, or raise the limit"
        )
    shown = []
    for start, end in windows(context, room, min(stride or room // 2, room)):
        inputs = {**example.inputs, "context": context[start:end]}
        gold = None
        if example.gold is not None:
            texts = [
                text for text in gold_answers(example).texts if _shows(example, text, start, end)
            ]
            gold = Answers(tuple(texts), gold_answers(example).plausible) if texts else None
        shown.append(replace(example, inputs=inputs, gold=gold))
    return shown


def _shows(example: Example, answer: str, start: int, end: int) -> bool:
    """Whether the context from `start` to `end` has an answer, where the data says it is."""
    context = example.inputs["context"]
    starts = gold_answers(example).starts.get(answer, ())
    known = [place for place in starts if context.startswith(answer, place)]
    if not known:
        return answer in context[start:end]
    return any(start <= place and place + len(answer) <= end for place in known)


def _question(record: Record, context: str, place: str) -> Question:
    name = record.text("guid", "id")
    question = record.text("question")
    answers = _answers(record.get("answers"))
    plausible = _answers(record.fields.get("plausible_answers"))
    is_impossible = bool(record.fields.get("is_impossible"))
    if answers is None or plausible is None or not (answers or is_impossible):
        raise InputError(
            f"{record.place}: question {name} has no answer; expected 'answers' with a 'text' each"
        )
    gold = Answers(tuple(answers), tuple(plausible), answers)
    return Question(name, question, context, gold, is_impossible, place)


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


def _answers(answers: Any) -> dict[str, tuple[int, ...]] | None:
    """Reads answers from a list of objects or, as in Parquet, an object of lists.

    Returns:
        The answers without empty ones, each with where it begins; None where they are malformed.
    """
    if isinstance(answers, Mapping):
        texts, starts = answers.get("text"), answers.get("answer_start")
    else:
        parts = answers or []
        if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
            return None
        texts, starts = ([part.get(key) for part in parts] for key in ("text", "answer_start"))
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    if not isinstance(starts, list) or len(starts) != len(texts):
        starts = [None] * len(texts)
    found: dict[str, tuple[int, ...]] = {}
    for text, start in zip(texts, starts, strict=True):
        if text:
            known = (start,) if isinstance(start, int) and start >= 0 else ()
            found[text] = found.get(text, ()) + known
    return found
