"""The client against a server in a separate process."""

import asyncio
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import numpy as np
import pytest
from pydantic import ValidationError

from kebyt5.client import (
    AsyncClient,
    Client,
    ConstraintSpec,
    EmbedRequest,
    FillRequest,
    GenerateRequest,
    ScoreRequest,
    ServerError,
    TextEnd,
    _retry_after,
    _timeout,
)
from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import predict
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.tasks import get_task
from tests.serving.servers import LONG, SENTENCES, running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    keys = folder / "keys.txt"
    keys.write_text("secret\n")
    options = ("--api-keys", keys, "--slots", 2, "--queue", 2, "--max-texts", 4)
    with running(folder, *options) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url, "secret") as client:
        yield client


def test_every_method(client, greedy, model):
    assert client.models().models[0].name == "tiny"
    request = GenerateRequest(input=LONG, max_new_bytes=60)
    assert client.generate(request).results[0].text == greedy(LONG, 60)
    *pieces, end = client.stream(request)
    assert isinstance(end, TextEnd)
    assert "".join(piece.text for piece in pieces) == greedy(LONG, 60)
    nsmc = get_task("nsmc")
    options = {"decoding": "generation", "constrain": True}
    (label,) = client.answer("nsmc", {"document": "재미있다"}, **options).results
    example = nsmc.example(document="재미있다")
    (offline,) = predict(model, nsmc, [example], PredictOptions(**options)).texts
    assert label.label == nsmc.to_json(nsmc.parse(offline, example), example)
    assert client.fill(FillRequest(text="가<extra_id_0>", max_bytes=4)).fillings[0].spans
    scores = client.score(ScoreRequest(input="가", candidates=["가", "나"]))
    (offline,) = log_likelihoods(model, ["가"], [["가", "나"]])
    assert scores.best == int(np.argmax(offline))
    assert len(client.embed(EmbedRequest(input=["가", "나"])).embeddings) == 2


def test_the_same_with_coroutines(server, greedy):
    async def scenario():
        async with AsyncClient(server.url, "secret") as client:
            request = GenerateRequest(input=LONG, max_new_bytes=60)
            (result,) = (await client.generate(request)).results
            text = ""
            async for event in client.stream(request):
                text += "" if isinstance(event, TextEnd) else event.text
            answer = await client.answer("ner", {"sentence": SENTENCES[0]})
            fillings = await client.fill(FillRequest(text="가<extra_id_0>", max_bytes=4))
            scores = await client.score(ScoreRequest(input="가", candidates=["가"]))
            vectors = await client.embed(EmbedRequest(input="가"))
            models = await client.models()
        assert result.text == text == greedy(LONG, 60)
        assert all([answer.results, fillings.fillings, scores.scores, vectors.embeddings])
        assert models.models[0].name == "tiny"

    asyncio.run(scenario())


def test_a_stream_may_have_any_characters(server, client):
    """Including those at which `splitlines` splits."""
    text = "가\u2028나\u2029다\x85라\r마\n바"
    request = GenerateRequest(input="가", constraint=ConstraintSpec(labels=[text]))

    async def read():
        async with AsyncClient(server.url, "secret") as client:
            return [event async for event in client.stream(request)]

    for *pieces, end in (list(client.stream(request)), asyncio.run(read())):
        assert "".join(piece.text for piece in pieces) == text
        assert isinstance(end, TextEnd)


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800"])
def test_a_schema_that_is_not_json_is_refused_before_it_is_sent(value):
    with pytest.raises(ValidationError, match=r"not JSON compliant|surrogates not allowed"):
        ConstraintSpec(json_schema={"const": value})


def test_refusals(server, client):
    with pytest.raises(ServerError, match="unclosed group") as error:
        client.generate(GenerateRequest(input="가", constraint=ConstraintSpec(regex="(")))
    assert error.value.status == 422
    with pytest.raises(ServerError, match="unclosed group"):
        list(client.stream(GenerateRequest(input="가", constraint=ConstraintSpec(regex="("))))
    with pytest.raises(ServerError, match="401: send one of the server's keys"):
        Client(server.url, "guess").models()
    with pytest.raises(InputError, match="unknown task"):
        client.answer("nerr", {})
    with pytest.raises(ValidationError):
        client.answer("ner", {"text": "가"})


@pytest.mark.parametrize(("given", "wait"), [("0", 0.1), ("-5", 0.1), ("3", 3), ("Mon", 1)])
def test_there_is_a_pause_before_asking_again_whatever_a_proxy_says(given, wait):
    response = httpx2.Response(429, headers={"retry-after": given})
    assert _retry_after(response, give_up=math.inf) == wait
    response.status_code = 503  # of too many connections
    assert _retry_after(response, give_up=math.inf) == wait
    assert _retry_after(httpx2.Response(503), give_up=math.inf) is None


@pytest.mark.parametrize("streams", [False, True])
def test_a_busy_server_is_asked_again(server, greedy, streams):
    """Four places; eight requests at once are all answered in the end, by either client."""
    request = GenerateRequest(input=LONG, max_new_bytes=300)

    async def ask(client):
        if not streams:
            return (await client.generate(request)).results[0].text
        events = [event async for event in client.stream(request)]
        return "".join(event.text for event in events[:-1])

    def ask_blocking():
        with Client(server.url, "secret", patience=120) as client:
            if not streams:
                return client.generate(request).results[0].text
            *pieces, _ = client.stream(request)
            return "".join(piece.text for piece in pieces)

    async def scenario():
        async with AsyncClient(server.url, "secret", patience=120) as client:
            asking = [asyncio.to_thread(ask_blocking) for _ in range(4)]
            return await asyncio.gather(*asking, *(ask(client) for _ in range(4)))

    refused = 'kebyt5_requests_total{route="/v1/generate",status="429"}'
    before = server.metric(refused)
    assert asyncio.run(scenario()) == [greedy(LONG, 300)] * 8
    assert server.metric(refused) > before


class CuttingProxy(BaseHTTPRequestHandler):
    """A proxy that loses its server in the middle of a stream."""

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'event: text\ndata: {"index": 0, "text": "a"}\n\n')


@contextmanager
def client_of(handler, requests=1):
    """A client of something else than a server of kebyt5."""
    with HTTPServer(("127.0.0.1", 0), handler) as other:
        answering = threading.Thread(
            target=lambda: [other.handle_request() for _ in range(requests)]
        )
        answering.start()
        with Client(f"http://127.0.0.1:{other.server_port}") as client:
            yield client
        answering.join()


def test_a_stream_that_was_cut_off_is_an_error():
    with client_of(CuttingProxy) as client:
        events = client.stream(GenerateRequest(input="가"))
        assert next(events).text == "a"
        with pytest.raises(ServerError, match="502: the stream ended before 1 of its texts"):
            next(events)


@pytest.mark.parametrize("content", [b"<html>", b'{"model": "a", "results": [], "more": 1}'])
def test_an_answer_that_cannot_be_read_is_an_error_of_the_server(content):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

    with client_of(Other) as client, pytest.raises(ServerError, match="502: the answer is not one"):
        client.generate(GenerateRequest(input="가"))


@pytest.mark.parametrize(("deadline", "seconds"), [(None, 120), (10, 120), (300, 315)])
def test_an_answer_may_take_as_long_as_its_deadline(deadline, seconds):
    request = GenerateRequest(input="가", deadline=deadline)
    assert _timeout(httpx2.Timeout(120), request).read == seconds


class Proxy(BaseHTTPRequestHandler):
    """A proxy that is busy at first, and sends Retry-After as a date."""

    asked = 0

    def do_POST(self):
        Proxy.asked += 1
        self.send_response(429 if Proxy.asked == 1 else 404)
        self.send_header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()


def test_a_proxy_may_say_when_to_ask_again_as_a_date():
    with client_of(Proxy, requests=2) as client, pytest.raises(ServerError, match="404"):
        client.generate(GenerateRequest(input="가"))


def test_a_key_that_none_can_be_is_refused():
    with pytest.raises(InputError, match="api_key: contains characters that no key has"):
        Client("http://localhost:1", api_key="…")
