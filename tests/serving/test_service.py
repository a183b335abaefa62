"""A service, called from coroutines."""

import asyncio
import threading

import pytest

from kebyt5.evaluation.predict import Windows
from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.quantization.quantize import quantize
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.registry import share_equal_weights
from kebyt5.serving.schemas import ModelRequest
from kebyt5.serving.service import LocalService
from kebyt5.tasks import get_task


@pytest.fixture
def service(model):
    service = LocalService("tiny", model, ServeOptions())
    service.start()
    yield service
    service.worker.stop()


def test_of_int8_models_all_weights_are_named_and_shared(tiny_model):
    one, two = (quantize(tiny_model()) for _ in range(2))
    info = asyncio.run(LocalService("a", one, ServeOptions()).info())
    assert info.dtype == "int8"
    assert info.parameters == tiny_model().num_parameters()
    share_equal_weights(one, two)
    name = "encoder.block.0.layer.0.SelfAttention.q"
    assert one.get_submodule(name).weight.data_ptr() == two.get_submodule(name).weight.data_ptr()


@pytest.mark.parametrize(
    ("name", "real"), [("Windows", Windows), ("task_constraints", task_constraints)]
)
def test_inputs_and_constraints_are_made_while_others_are_answered(
    service, monkeypatch, name, real
):
    threads = []

    def noted(*arguments):
        threads.append(threading.current_thread())
        return real(*arguments)

    monkeypatch.setattr(f"kebyt5.serving.service.{name}", noted)
    task = get_task("ner")
    example = task.example(sentence="가나")
    answering = service.predict(task, [example], ModelRequest(), False, constrained=True)
    (said,) = asyncio.run(answering)
    assert task.parse(said.text, example).reason is None
    assert threads
    assert threading.current_thread() not in threads
