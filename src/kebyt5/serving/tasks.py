"""Requests and responses of the tasks over HTTP: objects instead of prompts and marks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, JsonValue, create_model

from kebyt5.evaluation.options import Decoding
from kebyt5.serving.schemas import (
    BATCH,
    ONE,
    SEVERAL,
    Message,
    ModelRequest,
    Text,
    one_or_several,
)
from kebyt5.tasks import TASKS, Example, Parsed, Task
from kebyt5.tasks.metrics.classification import softmax
from kebyt5.tasks.mrc import UNKNOWN
from kebyt5.tasks.wos import SPEAKERS

Cell = Annotated[str, Field(pattern=r"^[^\t\n]+$")]


class TaskRequest(ModelRequest):
    """Base of the requests to a task; each task declares its own `input`."""

    input: Any
    constrain: bool = Field(
        default=False,
        description="Generate only what may be an answer: a label, a marked sentence or the like,"
        " or any valid text.",
    )


class LabelTaskRequest(TaskRequest):
    """Base of the requests to a task whose answers are labels."""

    decoding: Decoding = Field(
        default="likelihood",
        description="Take the likeliest label, or generate one byte by byte; a generated text that"
        " is not a label is replaced by the most similar one.",
    )


class TaskInput(Message):
    """Base of the inputs of a task; by default a text for each of its input fields."""

    def inputs(self) -> dict[str, str]:
        """Makes the texts of the task's input fields."""
        return self.model_dump()


class Answered(Message):
    """Base of the answers of a task: how the model came to the answer."""

    text: str = Field(description="The text that the model wrote.")
    unparsed: str | None = Field(
        description="Why the text is malformed; null if it is well-formed."
    )
    shortened: bool = Field(description="Whether the model could not see the whole input at once.")

    @classmethod
    @abstractmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the fields that a task's own answer has besides these."""


class TaskResponse(Message):
    """Base of the responses of a task; each task declares its own `results`."""

    model: str
    results: list[Any]


class Entity(Message):
    """A named entity; offsets count characters (code points) of the sentence."""

    text: str
    type: str
    start: int
    end: int = Field(description="Offset after the last character.")


class Entities(Answered):
    """The entities of a sentence."""

    entities: list[Entity]

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the entities."""
        return {"entities": [Entity(**entity) for entity in task.to_json(parsed, example)]}


class WordInput(Message):
    """A word (eojeol) with its morphemes."""

    word: Cell
    lemmas: Cell = Field(description="Lemmas of the morphemes, separated by blanks.")
    tags: Cell = Field(description="Tags of the morphemes, separated by +.")


class SentenceOfWords(TaskInput):
    """A sentence to parse."""

    sentence: Text
    words: list[WordInput] = Field(min_length=1, max_length=500, fail_fast=True)

    def inputs(self) -> dict[str, str]:
        """Makes a row of each word."""
        rows = (f"{word.word}\t{word.lemmas}\t{word.tags}" for word in self.words)
        return {"sentence": self.sentence, "words": "\n".join(rows)}


class Arc(Message):
    """A word and what it depends on."""

    index: int = Field(description="Number of the word, from 1.")
    word: str
    head: int | None = Field(description="Index of the head, 0 for the root; null if unreadable.")
    label: str | None


class Tree(Answered):
    """A dependency tree."""

    words: list[Arc]

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the arc of every word."""
        arcs = task.to_json(parsed, example)
        return {"words": [Arc(index=number, **arc) for number, arc in enumerate(arcs, 1)]}


class Evidence(Message):
    """Where the context contains an answer, in characters."""

    start: int
    end: int
    text: str


class Answer(Answered):
    """The answer to a question."""

    answer: str | None = Field(description="null where the context does not answer the question.")
    evidence: Evidence | None = Field(description="null where the answer is not in the context.")

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the answer, and where the context first has it."""
        answer = str(parsed.value)
        if answer == UNKNOWN:
            return {"answer": None, "evidence": None}
        start = example.inputs["context"].find(answer) if answer else -1
        end = start + len(answer)
        evidence = Evidence(start=start, end=end, text=answer) if start >= 0 else None
        return {"answer": answer, "evidence": evidence}


class Turn(Message):
    """One turn of a dialogue."""

    speaker: Literal["user", "system"]
    text: Annotated[str, Field(pattern=r"^[^\n]+$")]


class Dialogue(TaskInput):
    """A dialogue so far."""

    turns: list[Turn] = Field(min_length=1, max_length=200)

    def inputs(self) -> dict[str, str]:
        """Makes a line of each turn."""
        speakers = {"user": SPEAKERS["user"], "system": SPEAKERS["sys"]}
        lines = (f"{speakers[turn.speaker]}{turn.text}" for turn in self.turns)
        return {"dialogue": "\n".join(lines)}


class SlotValue(Message):
    """One thing that the user wants."""

    domain: str
    slot: str
    value: str


class DialogueState(Answered):
    """Everything that the user wants so far."""

    state: list[SlotValue]

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes a value for each slot."""
        state = []
        for name, value in task.to_json(parsed, example).items():
            domain, _, slot = name.partition("-")
            state.append(SlotValue(domain=domain, slot=slot, value=value))
        return {"state": state}


class Likelihoods(Answered):
    """Base of label answers: the likelihood of each label; null if they were not compared."""

    log_likelihoods: dict[str, float] | None
    probabilities: dict[str, float] | None


class Label(Likelihoods):
    """One of the task's labels."""

    label: str

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the label."""
        return {"label": parsed.value}


class Similarity(Likelihoods):
    """How similar two sentences are, from 0 to 5."""

    score: float

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the score."""
        return {"score": parsed.value}


class Output(Answered):
    """An answer in the task's own form."""

    answer: JsonValue

    @classmethod
    def content(cls, task: Task, parsed: Parsed, example: Example) -> dict[str, Any]:
        """Makes the answer as `predictions.jsonl` has it."""
        return {"answer": task.to_json(parsed, example)}


@dataclass(frozen=True)
class TaskMessages:
    """Messages of a task.

    Attributes:
        input: Message of one input.
        output: Message of one answer.
        example: Content of an `input`, for the documentation.
    """

    input: type[TaskInput]
    output: type[Answered]
    example: Mapping[str, Any]


def _input_of(task: str) -> type[TaskInput]:
    """Makes a message with a task's input fields, each a text."""
    fields: dict[str, Any] = dict.fromkeys(TASKS[task].input_fields, (Text, ...))
    title = f"{task.capitalize()}Input"
    return create_model(title, __base__=TaskInput, __doc__=TASKS[task].title, **fields)


_PAIR = {"sentence1": "비가 온다.", "sentence2": "비가 내린다."}
_QUESTION = {"question": "수도는 어디인가?", "context": "한국의 수도는 서울이다."}
_RELATION = {
    "sentence": "이순신은 조선의 장군이다.",
    "subject": "이순신",
    "subject_type": "PER",
    "object": "장군",
    "object_type": "POH",
}
_PARSE = {
    "sentence": "나는 집에 간다.",
    "words": [
        {"word": "나는", "lemmas": "나 는", "tags": "NP+JX"},
        {"word": "집에", "lemmas": "집 에", "tags": "NNG+JKB"},
        {"word": "간다.", "lemmas": "가 ㄴ다 .", "tags": "VV+EF+SF"},
    ],
}

_EXAMPLES: dict[str, Mapping[str, Any]] = {
    "ner": {"sentence": "김하늘 씨는 서울에 산다."},
    "dp": _PARSE,
    "mrc": _QUESTION,
    "korquad": _QUESTION,
    "wos": {"turns": [{"speaker": "user", "text": "서울 중앙에 있는 호텔을 찾아 주세요."}]},
    "sts": _PAIR,
    "ynat": {"title": "내년 예산안 국회 통과"},
    "re": _RELATION,
    "nli": {"premise": "비가 온다.", "hypothesis": "날씨가 맑다."},
    "nsmc": {"document": "정말 재미있다!"},
    "pawsx": _PAIR,
    "seq2seq": {"text": "아버지가방에들어가신다."},
}

_INPUTS: dict[str, type[TaskInput]] = {"dp": SentenceOfWords, "wos": Dialogue}
_OUTPUTS: dict[str, type[Answered]] = {
    "ner": Entities,
    "dp": Tree,
    "mrc": Answer,
    "korquad": Answer,
    "wos": DialogueState,
    "sts": Similarity,
}


def _messages_of(task: str) -> TaskMessages:
    """Returns the form of a task; by default texts in, and a label or the task's answer out."""
    output = _OUTPUTS.get(task) or (Label if TASKS[task].labels else Output)
    example = _EXAMPLES.get(task) or dict.fromkeys(TASKS[task].input_fields, "예문")
    return TaskMessages(_INPUTS.get(task) or _input_of(task), output, example)


MESSAGES = {task: _messages_of(task) for task in TASKS}
"""The messages of every task, by its name."""


def _request(task: str) -> type[TaskRequest]:
    messages = MESSAGES[task]
    one: Any = messages.input
    several = Annotated[list[one], BATCH, SEVERAL]
    either = Annotated[Annotated[one, ONE] | several, Discriminator(one_or_several)]
    fields: dict[str, Any] = {"input": (either, Field(examples=[messages.example]))}
    return create_model(
        f"{task.capitalize()}Request",
        __base__=LabelTaskRequest if TASKS[task].labels else TaskRequest,
        __doc__=f"One input of the task {task}, or several.",
        **fields,
    )


def _response(task: str) -> type[TaskResponse]:
    output: Any = MESSAGES[task].output
    fields: dict[str, Any] = {"results": (list[output], ...)}
    return create_model(
        f"{task.capitalize()}Response",
        __base__=TaskResponse,
        __doc__=f"Answers of the task {task}, in the order of the inputs.",
        **fields,
    )


REQUESTS = {task: _request(task) for task in MESSAGES}
RESPONSES = {task: _response(task) for task in MESSAGES}


def examples_of(task: Task, request: TaskRequest) -> list[Example]:
    """Makes the task's examples from the inputs of a request."""
    inputs = request.input if isinstance(request.input, list) else [request.input]
    return [task.example(**each.inputs()) for each in inputs]


def answered(
    task: Task,
    example: Example,
    text: str,
    shortened: bool,
    log_likelihoods: Sequence[float] | None,
) -> Answered:
    """Makes the answer message of a text that a model wrote.

    Args:
        task: The task of the example.
        example: The example that was asked.
        text: The text that the model wrote.
        shortened: Whether the model could not see the whole input at once.
        log_likelihoods: Log-likelihood of each of the task's labels; None if not compared.
    """
    parsed = task.parse(text, example)
    output = MESSAGES[task.name].output
    content = output.content(task, parsed, example)
    if issubclass(output, Likelihoods):
        content |= {"log_likelihoods": None, "probabilities": None}
        if log_likelihoods is not None:
            values = np.asarray(log_likelihoods)
            shares = softmax(values).tolist()
            content["log_likelihoods"] = dict(zip(task.labels, values.tolist(), strict=True))
            content["probabilities"] = dict(zip(task.labels, shares, strict=True))
    return output(text=text, unparsed=parsed.reason, shortened=shortened, **content)
