"""The interface of a served model, in this process or elsewhere."""

from collections.abc import AsyncGenerator
from typing import Protocol

from kebyt5.serving.problems import Problem
from kebyt5.serving.schemas import (
    EmbedRequest,
    EmbedResponse,
    FillRequest,
    FillResponse,
    GenerateRequest,
    GenerateResponse,
    ModelInfo,
    ScoreRequest,
    ScoreResponse,
    TextEnd,
    TextPiece,
)
from kebyt5.serving.tasks import TaskRequest, TaskResponse

Event = TextPiece | TextEnd | None
"""An event of a stream; None means that the request is accepted."""


class Service(Protocol):
    """A served model, in this process or elsewhere.

    Every method raises `Problem` when it refuses a request and TimeoutError at the deadline, and
    abandons its work when the coroutine is cancelled.
    """

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""

    def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Yields None once the request is accepted, then the texts piece by piece."""

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task."""

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Scores candidate outputs by their likelihood."""

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Embeds texts as vectors."""

    async def info(self) -> ModelInfo:
        """Describes the model."""

    @property
    def refusal(self) -> Problem | None:
        """The problem to refuse every request with while the service is full; None otherwise."""

    @property
    def is_alive(self) -> bool:
        """Whether the service is able to work."""
