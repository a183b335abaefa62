"""A service, called from coroutines."""

import asyncio
import threading

import pytest

from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.schemas import ModelRequest
from kebyt5.serving.service import LocalService
from kebyt5.tasks import get_task


@pytest.fixture
def service(model):
    service = LocalService("tiny", model, ServeOptions())
    service.start()
    yield service
    service.worker.stop()


def test_constraints_are_made_while_others_are_answered(service, monkeypatch):
    threads = []

    def noted(*arguments):
        threads.append(threading.current_thread())
        return task_constraints(*arguments)

    monkeypatch.setattr("kebyt5.serving.service.task_constraints", noted)
    task = get_task("ner")
    example = task.example(sentence="가나")
    answering = service.predict(task, [example], ModelRequest(), False, constrained=True)
    (said,) = asyncio.run(answering)
    assert task.parse(said.text, example).reason is None
    assert threads
    assert threading.current_thread() not in threads
