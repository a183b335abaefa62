"""Text generation: the engine, its requests and constraints, beam search, likelihoods."""

from kebyt5.generation.engine import Engine
from kebyt5.generation.request import (
    Generated,
    GenerationError,
    GenerationOptions,
    GenerationStatistics,
    Request,
)

__all__ = [
    "Engine",
    "Generated",
    "GenerationError",
    "GenerationOptions",
    "GenerationStatistics",
    "Request",
]
