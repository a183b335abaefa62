"""Requests and responses of the server and its client, except those of the tasks."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from kebyt5.generation.request import Finish
from kebyt5.models.tokenization_kebyt5 import Sentinels

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]

MAX_BATCH = 256
"""Largest number of texts in a request; a server may allow fewer."""

MAX_FIELDS = 100
"""Most fields of an object in a request, known or not."""

MAX_SECONDS = 3600.0
"""Longest deadline that a request may ask for."""

BATCH = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)
"""Limits of a list of inputs, of which only the first error is reported."""

ONE, SEVERAL = Tag("one"), Tag("several")
"""Tags of the two forms of an input; pydantic names them in the location of an error."""


def one_or_several(value: Any) -> str:
    """Returns the tag of an input's form, so that errors are reported for that form only."""
    return SEVERAL.tag if isinstance(value, list) else ONE.tag


Texts = Annotated[
    Annotated[Text, ONE] | Annotated[list[Text], BATCH, SEVERAL],
    Discriminator(one_or_several),
]
"""A text, or several."""


class Message(BaseModel):
    """Base of all messages: strict types, and no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, content: Any) -> Any:
        """Refuses at once what would make an error of each of its thousands of unknown fields."""
        if isinstance(content, dict) and len(content) > MAX_FIELDS:
            raise ValueError(f"{len(content)} fields; there are only {len(cls.model_fields)}")
        return content


class ModelRequest(Message):
    """Base of all requests to a model.

    Attributes:
        model: Name of the model; None for the first one served.
        deadline: Seconds after which the server gives up; None for the server's own limit.
    """

    model: Name | None = Field(
        default=None, description="Name of a model, see /v1/models; by default the first one."
    )
    deadline: float | None = Field(
        default=None,
        ge=0.1,
        le=MAX_SECONDS,
        description="Seconds after which to give up; by default the server's own limit.",
    )


class ConstraintSpec(Message):
    """Restricts what may be generated: exactly one of these fields."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    labels: list[Text] | None = Field(
        default=None, min_length=1, max_length=10_000, description="One of these texts."
    )
    regex: Text | None = Field(
        default=None,
        description="A text that matches this expression as a whole, in the syntax of Rust's regex"
        " crate.",
    )
    json_schema: dict[str, Any] | None = Field(default=None, description="JSON of this schema.")
    grammar: Text | None = Field(
        default=None,
        description="A text of this context-free grammar, in llguidance's variant of Lark's.",
    )

    @field_validator("json_schema")
    @classmethod
    def _is_json(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            json.dumps(schema, allow_nan=False, ensure_ascii=False).encode()
        # Also of a lone surrogate, or many levels; and a client would send NaN as null.
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the schema cannot be written as JSON: {error}") from error
        return schema

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            which = " and ".join(given) or "none"
            raise ValueError(
                f"{which} given; give exactly one of labels, regex, json_schema and grammar"
            )
        return self


class TextsRequest(ModelRequest):
    """Base of requests about one text or several.

    Attributes:
        input: The text or texts.
    """

    input: Texts = Field(description="What the model reads: a text, or several.")

    @property
    def inputs(self) -> list[str]:
        """The input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class GenerateRequest(TextsRequest):
    """Asks for a generated text for each input."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "input": "task: NER\n\n### 입력\n김하늘 씨는 서울에 산다.\n",
                    "max_new_bytes": 128,
                },
                {
                    "input": ["nsmc sentiment classification: 정말 재미있다!"],
                    "constraint": {"labels": ["positive", "negative"]},
                },
                {"input": "가나다", "temperature": 0.8, "top_p": 0.9, "seed": 7, "stream": True},
            ]
        }
    )

    max_new_bytes: int = Field(
        default=256,
        ge=1,
        le=2**20,
        description="Most bytes generated for one text; a Hangul syllable has 3.",
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Temperature of the sampling; 0 to always take the likeliest byte.",
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the probability mass to sample from; needs a temperature above 0.",
    )
    seed: int = Field(default=0, ge=0, lt=2**53, description="Seed of the sampling.")
    stop: list[Text] = Field(
        default=[], max_length=16, description="Texts before which the output ends."
    )
    constraint: ConstraintSpec | None = None
    sentinels: Sentinels = Field(
        default="huggingface", description="Which ids <extra_id_i> stands for."
    )
    stream: bool = Field(
        default=False,
        description="Send the text as it grows, as server-sent events of whole characters.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.top_p < 1 and self.temperature == 0:
            raise ValueError(
                "top_p has no effect without sampling; give a temperature above 0, or leave it out"
            )
        labels = self.constraint.labels if self.constraint else None
        longest = max((len(label.encode()) for label in labels or ()), default=0)
        if longest > self.max_new_bytes:
            raise ValueError(
                f"a label has {longest} bytes, but max_new_bytes is {self.max_new_bytes}; raise"
                " that, or shorten the label"
            )
        return self


class ByteCounts(Message):
    """Counts how the bytes of a text were generated, see docs/generation.md."""

    passes: int
    rows: int
    decided: int
    copied: int
    forced: int
    ties: int


class GeneratedText(Message):
    """A finished text."""

    text: str
    finish: Finish = Field(
        description="Why it ends: end of sequence, length limit, stop text, deadline, cancelled."
        " Only with `eos` does the text meet its constraint as a whole; otherwise it may be cut."
    )
    statistics: ByteCounts


class GenerateResponse(Message):
    """The generated texts, in the order of the inputs."""

    model: str
    results: list[GeneratedText]


class TextPiece(Message):
    """Server-sent event `text`: whole characters that a text has grown by."""

    index: int = Field(description="Index of the input.")
    text: str


class TextEnd(Message):
    """Server-sent event `end`: a text is finished."""

    index: int
    finish: Finish
    statistics: ByteCounts


class FillRequest(ModelRequest):
    """A text with blanks, for a model that is pretrained by span corruption."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "한국의 수도는 <extra_id_0>이다.", "results": 2}]}
    )
    text: Text = Field(
        description="Text with the blanks <extra_id_0>, <extra_id_1>, … in this order, at most 11.",
        json_schema_extra={"pattern": "<extra_id_0>"},
    )
    beams: int = Field(default=8, ge=1, le=16, description="Width of the beam search.")
    results: int = Field(
        default=5, ge=1, le=16, description="Number of fillings, no more than beams."
    )
    max_bytes: int = Field(default=48, ge=4, le=512, description="Longest span in bytes.")

    @model_validator(mode="after")
    def _enough_beams(self) -> Self:
        if self.results > self.beams:
            raise ValueError(
                f"{self.results} results need as many beams, not {self.beams}; give more beams"
            )
        return self


class FilledText(Message):
    """One way to fill the blanks."""

    spans: list[str]
    text: str
    log_likelihood: float


class FillResponse(Message):
    """Lists fillings, the likeliest first."""

    model: str
    fillings: list[FilledText]


class ScoreRequest(ModelRequest):
    """Asks how likely the model is to write each of some outputs for an input."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "input": "nsmc sentiment classification: 정말 재미있다!",
                    "candidates": ["positive", "negative"],
                }
            ]
        }
    )
    input: Text = Field(description="What the model reads.")
    candidates: list[str] = Field(
        min_length=1, max_length=MAX_BATCH, description="Outputs that it might write."
    )


class Score(Message):
    """The likelihood of a candidate."""

    log_likelihood: float = Field(
        description="Natural logarithm of its probability, end of sequence included."
    )
    bytes: int
    probability: float = Field(description="Probability relative to the other candidates.")


class ScoreResponse(Message):
    """A score for each candidate, in their order."""

    model: str
    scores: list[Score]
    best: int = Field(description="Index of the likeliest.")


class EmbedRequest(TextsRequest):
    """Texts to represent as vectors."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["서울", "부산"]}]})
    normalize: bool = Field(default=False, description="Scale each vector to length 1.")


class EmbedResponse(Message):
    """The embedding of each text: the mean of the encoder's states."""

    model: str
    embeddings: list[list[float]]


class ModelInfo(Message):
    """A served model."""

    name: str
    architecture: str
    parameters: int
    dtype: str


class ModelsResponse(Message):
    """The served models; the first one answers requests that name none."""

    models: list[ModelInfo]


class TaskInfo(Message):
    """A known task."""

    name: str
    title: str
    labels: list[str]


class TasksResponse(Message):
    """All known tasks, whether or not a served model was trained on them."""

    tasks: list[TaskInfo]


class Health(Message):
    """Whether the server is well."""

    status: Literal["ok"]


__all__ = [
    "ByteCounts",
    "ConstraintSpec",
    "EmbedRequest",
    "EmbedResponse",
    "FillRequest",
    "FillResponse",
    "FilledText",
    "GenerateRequest",
    "GenerateResponse",
    "GeneratedText",
    "Health",
    "Message",
    "ModelInfo",
    "ModelRequest",
    "ModelsResponse",
    "Score",
    "ScoreRequest",
    "ScoreResponse",
    "TaskInfo",
    "TasksResponse",
    "TextEnd",
    "TextPiece",
]
