"""From input texts to output texts: the engine, its constraints, eight-bit weights."""

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
