"""Fixtures for tests of the server."""

import codecs
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient
from transformers import PreTrainedModel

import kebyt5
from tests.serving.servers import served


@pytest.fixture(scope="session")
def model() -> PreTrainedModel:
    """The shipped model."""
    return kebyt5.load("tiny")


@pytest.fixture(scope="session")
def greedy(model: PreTrainedModel) -> Callable[[str, int], str]:
    """Plain greedy generation by Transformers, one text at a time."""
    tokenizer = kebyt5.ByteTokenizer()

    def generate(text: str, limit: int) -> str:
        encoded = tokenizer(text, return_tensors="pt")
        ids = model.generate(**encoded, max_new_tokens=limit, do_sample=False)[0, 1:].tolist()
        data = bytes(i - 3 for i in ids if i >= 3)
        # Half a character at the limit is dropped; elsewhere it stands as U+FFFD.
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data, ids[-1] == 1)

    return generate


@pytest.fixture(scope="module")
def client(model: PreTrainedModel) -> Iterator[TestClient]:
    """A client of a server with default options."""
    with served(model) as client:
        yield client
