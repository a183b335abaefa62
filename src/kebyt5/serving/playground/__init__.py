"""A page on which a person asks a model and sees what it does."""

from kebyt5.serving.playground.page import build

__all__ = ["build"]
