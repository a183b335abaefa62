"""Questions about contexts in the formats of SQuAD and the data sets modelled on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from kebyt5.errors import InputError
from kebyt5.models.offsets import byte_length
from kebyt5.tasks.files import Record, read_json, read_records, read_text
from kebyt5.tasks.fitting import windows
from kebyt5.tasks.task import Example, Parsed, Task

_MIN_ROOM = 8
"""Least bytes of context in a window: two characters, so that the default stride, half of it,
holds one."""

_MIN_SHARE = 16
"""A window has to have room for a context of at least 1/16 of its bytes. Windows with a few bytes
each, and the whole question in every one, would together be many times as long as the context."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The gold answers to a question.

    Attributes:
        texts: The right answers, the first of which is the target.
        plausible: Answers that seem right but are not.
        starts: Where in the context each text occurs, in characters, as far as the data says.
    """

    texts: tuple[str, ...]
    plausible: tuple[str, ...] = ()
    starts: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

    def __contains__(self, text: str) -> bool:
        return text in self.texts


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a file."""

    id: str
    question: str
    context: str
    answers: Answers
    is_impossible: bool
    place: str

    def example(self, gold: Answers) -> Example:
        """Makes an example of the question, with the given gold."""
        inputs = {"question": self.question, "context": self.context}
        return Example(self.id, inputs, gold, self.place)


def read_questions(path: str | Path) -> list[Question]:
    """Reads the questions of a SQuAD-like JSON file, or the rows of a Parquet file.

    Raises:
        InputError: The file cannot be read, or a record is malformed; names its line (in JSON that
            of the last question's name before it) and its path in the structure.
    """
    if Path(path).suffix.lower() == ".parquet":
        return [_question(row, row.text("context"), row.place) for row in read_records(path)]
    text, position, line = read_text(path), 0, 1
    root = read_json(path)
    if not isinstance(root, Mapping):
        raise InputError(f"{path}:1: {type(root).__name__}; expected an object with 'data'")
    questions = []
    try:
        for article in _parts(Record(root, ""), "data"):
            for paragraph in _parts(article, "paragraphs"):
                context = paragraph.text("context")
                for record in _parts(paragraph, "qas"):
                    # The parser does not report positions; the record's unique name gives its line.
                    found = max(position, text.find(f'"{record.id}"', position))
                    line += text.count("\n", position, found)
                    position = found
                    questions.append(_question(record, context, f"{path}:{line}"))
    except InputError as error:
        raise InputError(f"{path}:{line}: {str(error).removeprefix(': ')}") from error
    if not questions:
        raise InputError(f"{path}:1: no questions here; expected at least one")
    return questions


class QuestionTask(Task):
    """A question about a context; the gold is its `Answers`, each of them right."""

    input_fields: ClassVar[tuple[str, ...]] = ("question", "context")
    max_input_bytes: ClassVar[int] = 6144

    def gold_of_target(self, target: str, example: Example) -> Answers:
        """Reads the one right answer that the target contains; the data may have more."""
        return Answers((self.parse(target, example).value,))

    def to_json(self, parsed: Parsed, example: Example) -> str:
        """Returns the answer."""
        return parsed.value

    def group(self, example: Example) -> str:
        """Returns the context, about which there may be several questions."""
        return example.inputs["context"]

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Makes overlapping windows over the context, each with the whole question.

        The gold of a window consists of the answers that it shows; it is None if there are none.
        A stride longer than the context of a window is reduced to that.

        Raises:
            InputError: The question leaves no room for a context.
        """
        context = example.inputs["context"]
        frame = replace(example, inputs={**example.inputs, "context": ""})
        room = max_bytes - byte_length(self.input_text(frame))
        if byte_length(context) <= room:
            return [example]
        if room < max(_MIN_ROOM, max_bytes // _MIN_SHARE):
            raise InputError(
                f"{example.place or example.id or 'input'}: the question leaves too little room for"
                f" the context, {max(room, 0)} of {max_bytes} bytes; shorten it, or raise the limit"
            )
        parts = []
        for start, end in windows(context, room, min(stride or room // 2, room)):
            inputs = {**example.inputs, "context": context[start:end]}
            gold = None if example.gold is None else _shown(example.gold, context, start, end)
            parts.append(replace(example, inputs=inputs, gold=gold))
        return parts


def _shown(gold: Answers, context: str, start: int, end: int) -> Answers | None:
    """Returns the gold answers within the context from `start` to `end`; None if there are none.

    Answers are located where the data says, or else anywhere in the window.
    """
    texts = []
    for text in gold.texts:
        places = [place for place in gold.starts.get(text, ()) if context.startswith(text, place)]
        if places:
            is_shown = any(start <= place and place + len(text) <= end for place in places)
        else:
            is_shown = text in context[start:end]
        if is_shown:
            texts.append(text)
    return Answers(tuple(texts), gold.plausible) if texts else None


def _question(record: Record, context: str, place: str) -> Question:
    name = record.name or record.text("guid", "id")
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
    """Yields the objects of a list in an object; their place is the path in the file."""
    parts = parent.get(name)
    if not isinstance(parts, list):
        raise InputError(f"{parent.place}: {name!r} is not a list; expected a list of objects")
    for number, fields in enumerate(parts):
        place = f"{parent.place}.{name}[{number}]".removeprefix(".")
        if not isinstance(fields, Mapping):
            raise InputError(f"{place} is not an object; expected one")
        yield Record(fields, place)


def _answers(answers: Any) -> dict[str, tuple[int, ...]] | None:
    """Reads answers from a list of objects or, as in Parquet, an object of lists.

    Returns:
        The non-empty answers, each with the offsets where it begins; None if they are malformed.
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


__all__ = ["Answers", "Question", "QuestionTask", "read_questions"]
