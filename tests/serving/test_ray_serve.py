"""Ray Serve: replicas give the same answers, even if one of them dies."""

import asyncio
import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import ray
from ray import serve
from ray.exceptions import RayActorError

from kebyt5.client import Client, ConstraintSpec, GenerateRequest, ServerError, TextEnd
from kebyt5.serving import ray_serve
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.problems import Problem
from kebyt5.serving.ray_serve import RemoteService, _Attempts, deploy
from tests.serving.servers import LONG, plain_greedy, running, texts


def test_what_was_accepted_waits_for_busy_replicas(monkeypatch):
    monkeypatch.setattr(ray_serve, "_PAUSE", 0.01)
    attempts = _Attempts(GenerateRequest(input="가", deadline=0.2), ServeOptions())
    busy = Problem(429, "busy")

    async def scenario():
        with pytest.raises(Problem):
            await attempts.retry_or_raise(busy)  # not accepted yet: refused
        await attempts.retry_or_raise(RayActorError())
        for _ in range(3):
            await attempts.retry_or_raise(busy)
        await asyncio.sleep(0.2)
        with pytest.raises(TimeoutError):
            await attempts.retry_or_raise(busy)

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A Ray instance for the tests, and the folder of its logs."""
    # On a busy machine Ray's processes get their turn late; its own patience is five seconds.
    patience = pytest.MonkeyPatch()
    for name, value in (
        ("RAY_worker_niceness", "0"),
        ("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "120"),
        ("RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S", "120"),
    ):
        patience.setenv(name, value)
    context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,
                       object_store_memory=100_000_000)  # fmt: skip
    try:
        patience.setenv("RAY_ADDRESS", context.address_info["address"])
        yield Path(context.address_info["session_dir"])
    finally:
        serve.shutdown()
        ray.shutdown()
        patience.undo()


@pytest.fixture(scope="module")
def server(session, tmp_path_factory):
    """`kebyt5 serve --ray` with two replicas of a model."""
    folder = tmp_path_factory.mktemp("server")
    keys = folder / "keys.txt"
    keys.write_text("secret\n")
    options = ("--slots", 8, "--queue", 56, "--deadline", 300, "--api-keys", keys)
    with running(folder, "--ray", "--replicas", 2, *options) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url, "secret", timeout=300) as client:
        yield client


def is_healthy():
    """Whether both replicas of the model run."""
    return serve.status().applications["kebyt5-tiny"].deployments["tiny"].status == "HEALTHY"


def replica_processes():
    """The process ids of the model's replicas."""
    title = b"ray::ServeReplica:kebyt5-tiny:tiny"
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


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def test_refusals_arrive_as_they_are(client, server):
    with pytest.raises(ServerError, match="unclosed group"):
        client.generate(GenerateRequest(input="가", constraint=ConstraintSpec(regex="(")))
    with pytest.raises(ServerError, match="send at most 16384"):
        client.generate(GenerateRequest(input="가" * 10_000))
    with pytest.raises(ServerError, match="504: the request was not done within its deadline"):
        client.answer("ner", [{"sentence": LONG}] * 20, deadline=0.1)
    with pytest.raises(ServerError, match="401"):
        Client(server.url).models()
    for schema in ({"enum": ["\ud800"]}, nested(300)):
        body = {"input": "가", "constraint": {"json_schema": schema}}
        for stream in (False, True):
            answer = httpx2.post(
                f"{server.url}/v1/generate",
                content=json.dumps(body | {"stream": stream}),
                headers={"Content-Type": "application/json", "Authorization": "Bearer secret"},
                timeout=300,
            )
            assert answer.status_code == 422
            assert "schema" in answer.json()["detail"]


def test_logs_of_ray_have_no_text(client, server, session):
    def logs(names):
        found = (path for path in (session / "logs").rglob(names) if path.is_file())
        return "".join(path.read_text(errors="replace") for path in found)

    def calls():
        return logs("replica_kebyt5-tiny_*").count(" CALL /v1/generate ")

    before = calls()
    wrong = ConstraintSpec(regex="password1234(")
    with pytest.raises(ServerError, match="password1234"):
        client.generate(GenerateRequest(input="가", constraint=wrong))
    server.wait_for(lambda: calls() > before)
    assert "password1234" not in logs("*")


def test_ray_is_told_how_busy_engines_are(client, server):
    client.generate(GenerateRequest(input=LONG, max_new_bytes=20))
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    server.wait_for(lambda: "ray_kebyt5_decoder_passes_total{" in httpx2.get(url, timeout=60).text)
    lines = httpx2.get(url, timeout=60).text.splitlines()
    passes = [line for line in lines if line.startswith("ray_kebyt5_decoder_passes_total{")]
    assert all('model="tiny"' in line for line in passes)
    assert any(line.startswith("ray_kebyt5_queue{") for line in lines)


def test_a_replica_dies_under_load_and_no_request_is_lost(server, model):
    inputs = texts(40, seed=5)
    answers = {}

    def ask(number):
        request = GenerateRequest(input=inputs[number], max_new_bytes=200)
        with Client(server.url, "secret", timeout=300) as mine:
            if number % 2:
                answers[number] = mine.generate(request).results[0].text
            else:
                *pieces, end = mine.stream(request)
                assert isinstance(end, TextEnd)
                answers[number] = "".join(piece.text for piece in pieces)

    server.wait_for(is_healthy)
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
    assert answers == dict(enumerate(plain_greedy(model, inputs, 200)))
    server.wait_for(is_healthy)
    assert first not in replica_processes()
    assert len(replica_processes()) == 2


def test_sigterm_answers_what_is_accepted_and_leaves_what_others_serve(server, greedy):
    @serve.deployment(ray_actor_options={"num_cpus": 0})
    class Other:
        def __call__(self):
            return "here"

    serve.run(Other.bind(), name="other", route_prefix="/other")
    begun, answers, stopping = set(), {}, threading.Lock()

    def ask(number):
        request = GenerateRequest(input=LONG, max_new_bytes=600)
        with Client(server.url, "secret", timeout=300) as mine:
            text = ""
            for event in mine.stream(request):
                begun.add(number)
                if len(begun) == 16 and stopping.acquire(blocking=False):
                    server.process.send_signal(signal.SIGTERM)
                text += "" if isinstance(event, TextEnd) else event.text
            answers[number] = text

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert server.process.wait() == 0
    assert answers == dict.fromkeys(range(16), greedy(LONG, 600))
    assert set(serve.status().applications) == {"other"}
    assert serve.get_app_handle("other").remote().result() == "here"


def test_a_replica_reserves_the_cores_that_it_computes_with(monkeypatch):
    reserved, given = [], []

    def deployment(_, ray_actor_options, **others):
        reserved.append(ray_actor_options)
        return SimpleNamespace(bind=lambda *arguments: given.append(arguments))

    monkeypatch.setattr(
        ray_serve, "serve",
        SimpleNamespace(
            deployment=deployment, ingress=lambda _: lambda: None, run=lambda *_, **__: None
        ),
    )  # fmt: skip
    deploy({"tiny": "tiny"}, ServeOptions(), 1, 1, cores=3)
    assert reserved == [{"num_cpus": 3}, {"num_cpus": 0}]  # the ingress computes nothing
    assert given[0] == ("tiny", "tiny", ServeOptions(), 3)


def test_a_request_that_no_replica_takes_ends_soon_after_its_deadline(monkeypatch):
    monkeypatch.setattr(ray_serve, "_GRACE", 0.1)

    async def scenario():
        waiting = asyncio.get_running_loop().create_future()
        handle = SimpleNamespace(call=SimpleNamespace(remote=lambda *_: waiting))
        service = RemoteService(handle, ServeOptions(deadline=0.1))
        asking = asyncio.create_task(service.generate(GenerateRequest(input="가")))
        done, _ = await asyncio.wait({asking}, timeout=60)
        assert done
        assert isinstance(asking.exception(), TimeoutError)
        assert waiting.cancelled()

    asyncio.run(scenario())


def test_a_replica_is_given_no_longer_deadline_than_it_takes():
    patience = ray_serve._Attempts(GenerateRequest(input="가"), ServeOptions(deadline=7200))
    assert GenerateRequest.model_validate_json(patience.body()).deadline == 3600
