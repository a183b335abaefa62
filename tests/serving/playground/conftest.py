"""Fixtures and helpers for tests of the playground."""

from html.parser import HTMLParser

import pytest

from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService


class Page(HTMLParser):
    """HTML as a list of tags and the text between them.

    Attributes:
        tags: Name, attributes and text (that of tags inside included) of each, in order of opening.
        text: Of everything.
    """

    VOID = frozenset({"br", "input", "path", "rect"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(html)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append([tag, dict(attrs), ""])
        if tag not in self.VOID:
            self._open.append(self.tags[-1])

    def handle_startendtag(self, tag, attrs):
        self.tags.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self._open
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        self.text += data
        for tag in self._open:
            tag[2] += data

    def find(self, tag=None, kind=None):
        """Finds the attributes and the text of the tags with a name and a class."""
        return [
            (attributes, text)
            for name, attributes, text in self.tags
            if tag in (None, name)
            and (kind is None or kind in (attributes.get("class") or "").split())
        ]


@pytest.fixture
def service_of():
    """Makes services of models, whose workers end with the test."""
    started = []

    def start(model):
        started.append(LocalService("test", model, ServeOptions()))
        started[-1].worker.start()
        return started[-1]

    yield start
    for service in started:
        service.worker.stop()


@pytest.fixture(scope="session")
def read_html():
    """Reads HTML, which has to close every tag."""
    return Page
