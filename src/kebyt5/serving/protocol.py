"""What can be asked of a model that is served, here or elsewhere, in the terms of the requests."""

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
"""Of a stream; None says that the request is accepted."""


class Service(Protocol):
    """A model that is served, here or elsewhere.

    Every method raises `Problem` for what it refuses and TimeoutError at the deadline, and gives up
    its work when the coroutine is cancelled.
    """

    async def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Generates texts."""

    def stream(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Generates texts and yields them as they grow; at first None, once it is accepted."""

    async def answer(self, task: str, request: TaskRequest) -> TaskResponse:
        """Answers inputs of a task."""

    async def fill(self, request: FillRequest) -> FillResponse:
        """Fills blanks."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judges candidates."""

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Represents texts as vectors."""

    async def info(self) -> ModelInfo:
        """Describes the model."""

    @property
    def refusal(self) -> Problem | None:
        """Why it accepts nothing at all now; None where it may."""

    @property
    def is_alive(self) -> bool:
        """Whether it can work."""


__all__ = ["Event", "Service"]
