"""Ray Serve: the same answers from replicas, one of which may die."""

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from ray import serve
from servers import LONG, texts

from kebyt5.client import Client, ConstraintSpec, GenerateRequest, ServerError, TextEnd
from kebyt5.errors import InputError
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.ray_serve import APPLICATION, build, run


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A model with two replicas on a Ray of its own."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text("secret\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # On a busy machine Ray's processes get their turn late; its own patience is five seconds.
    patience = pytest.MonkeyPatch()
    for name, value in (
        ("RAY_worker_niceness", "0"),
        ("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "120"),
        ("RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S", "120"),
    ):
        patience.setenv(name, value)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,
             object_store_memory=100_000_000)  # fmt: skip
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        options = ServeOptions(slots=8, queue=56, deadline=300, api_keys=keys)
        serve.run(build({"tiny": "tiny"}, options, 2, 2), name=APPLICATION)
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
        patience.undo()


@pytest.fixture
def client(url):
    with Client(url, "secret", timeout=300) as client:
        yield client


def replica_processes():
    """The process ids of the model's replicas."""
    details = serve.status().applications[APPLICATION].deployments["tiny"]
    assert details.status == "HEALTHY"
    title = b"ray::ServeReplica:kebyt5:tiny"
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if file.read_bytes().startswith(title):
                found.append(int(file.parent.name))
    return found


def test_every_route_answers_as_in_one_process(client, greedy):
    assert client.models().models[0].name == "tiny"
    request = GenerateRequest(input=LONG, max_new_bytes=60)
    assert client.generate(request).results[0].text == greedy(LONG, 60)
    *pieces, end = client.stream(request)
    assert isinstance(end, TextEnd)
    assert "".join(piece.text for piece in pieces) == greedy(LONG, 60)
    (answer,) = client.answer("nsmc", {"document": "재미있다"}).results
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_refusals_arrive_as_they_are(client, url):
    with pytest.raises(ServerError, match="unclosed group"):
        client.generate(GenerateRequest(input="가", constraint=ConstraintSpec(regex="(")))
    with pytest.raises(ServerError, match="16384 bytes at most"):
        client.generate(GenerateRequest(input="가" * 10_000))
    with pytest.raises(ServerError, match="504: not done within the deadline"):
        client.answer("ner", [{"sentence": LONG}] * 20, deadline=0.1)
    with pytest.raises(ServerError, match="401"):
        Client(url).models()


def test_a_replica_dies_under_load_and_no_request_is_lost(client, url, greedy):
    inputs = texts(40, seed=5)
    answers = {}

    def ask(number):
        request = GenerateRequest(input=inputs[number], max_new_bytes=200)
        with Client(url, "secret", timeout=300) as mine:
            if number % 2:
                answers[number] = mine.generate(request).results[0].text
            else:
                *pieces, end = mine.stream(request)
                assert isinstance(end, TextEnd)
                answers[number] = "".join(piece.text for piece in pieces)

    first, _ = replica_processes()
    asking = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for each in asking:
        each.start()
    while len(answers) < 5:
        time.sleep(0.01)
    os.kill(first, signal.SIGKILL)
    assert len(answers) < 35
    for each in asking:
        each.join()
    assert answers == {number: greedy(text, 200) for number, text in enumerate(inputs)}
    assert first not in replica_processes()


def test_fewer_at_most_than_at_least():
    with pytest.raises(InputError, match="fewer than"):
        run({"tiny": "tiny"}, ServeOptions(), "127.0.0.1", 8000, 2, 1)
