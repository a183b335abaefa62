"""Fixtures for tests of the server."""

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient
from transformers import PreTrainedModel

import kebyt5
from tests.serving.servers import plain_greedy, served


@pytest.fixture(scope="session")
def model() -> PreTrainedModel:
    """The shipped model."""
    return kebyt5.load("tiny")


@pytest.fixture(scope="session")
def greedy(model: PreTrainedModel) -> Callable[[str, int], str]:
    """Plain greedy generation by Transformers."""

    def generate(text: str, limit: int) -> str:
        return plain_greedy(model, [text], limit)[0]

    return generate


@pytest.fixture(scope="module")
def client(model: PreTrainedModel) -> Iterator[TestClient]:
    """A client of a server with default options."""
    with served(model) as client:
        yield client
