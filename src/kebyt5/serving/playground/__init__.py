"""A web page for asking a model and seeing what it does."""

from kebyt5.serving.playground.page import build

__all__ = ["build"]
