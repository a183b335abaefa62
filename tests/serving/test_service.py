"""A service, called from coroutines."""

import asyncio
import threading

import pytest

from kebyt5.evaluation.predict import Windows
from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.quantization.quantize import quantize
from kebyt5.serving.constraints import requested_constraint
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.registry import share_equal_weights
from kebyt5.serving.schemas import FillRequest, GenerateRequest
from kebyt5.serving.service import COMPILERS, LocalService
from kebyt5.tasks import get_task
from tests.serving.servers import LONG, SENTENCES


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
    answering = service.predict(task, [example], False, constrained=True)
    (said,) = asyncio.run(answering)
    assert task.parse(said.text, example).reason is None
    assert threads
    assert threading.current_thread() not in threads


def test_texts_do_not_wait_for_fillings(service):
    async def check():
        order = []

        async def note(answering, name):
            await answering
            order.append(name)

        blank = FillRequest(text=f"{LONG}<extra_id_0>", beams=8, results=1, max_bytes=200)
        filling = asyncio.create_task(note(service.fill(blank), "filled"))
        await asyncio.sleep(0.05)
        text = GenerateRequest(input=SENTENCES[0], max_new_bytes=30)
        await asyncio.gather(filling, note(service.generate(text), "generated"))
        return order

    assert asyncio.run(check()) == ["generated", "filled"]


def test_labels_do_not_wait_for_grammars(service, monkeypatch):
    stuck = threading.Event()

    def compile_for_long(spec):
        return stuck.wait() if spec.regex else requested_constraint(spec)

    def request(**constraint):
        return GenerateRequest(input="가", constraint=constraint, max_new_bytes=8)

    async def check():
        slow = [
            asyncio.create_task(service.generate(request(regex="a*"))) for _ in range(COMPILERS)
        ]
        await asyncio.sleep(0.1)  # until each has a thread
        answer = await service.generate(request(labels=["나", "다"]))
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return answer.results[0].text

    monkeypatch.setattr("kebyt5.serving.service.requested_constraint", compile_for_long)
    try:
        assert asyncio.run(asyncio.wait_for(check(), 30)) in ("나", "다")
    finally:
        stuck.set()
