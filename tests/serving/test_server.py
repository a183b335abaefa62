"""The server as a process: stopping, clients that leave, crowds, and those who send nothing."""

import json
import signal
import socket
import threading

import httpx2
import pytest

from kebyt5.client import Client, GenerateRequest
from tests.serving.servers import LONG, SENTENCES, running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    options = ("--slots", 2, "--queue", 2, "--max-texts", 4, "--body-seconds", 2, "--no-playground")
    with running(tmp_path_factory.mktemp("server"), *options) as server:
        yield server


def generate(url, limit, text=LONG):
    body = {"input": text, "max_new_bytes": limit}
    return httpx2.post(f"{url}/v1/generate", json=body, timeout=120)


def sent(server, body, length=None):
    """A connection on which all or part of a request was sent."""
    content = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = "POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content[:length])
    return connection


def received(connection):
    """Everything received until the server closes the connection."""
    connection.settimeout(120)
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data.decode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(server, stream):
    before = server.metric("kebyt5_generated_ids_total")
    for _ in range(4):  # all places
        connection = sent(server, {"input": LONG, "max_new_bytes": 4096, "stream": stream})
        server.wait_for(lambda: server.metric("kebyt5_batch") > 0)
        connection.close()
        server.wait_for(lambda: server.metric("kebyt5_batch") == 0)
    assert server.metric("kebyt5_generated_ids_total") - before < 4 * 4096
    assert server.metric('kebyt5_requests_total{route="/v1/generate",status="499"}') >= 4
    assert generate(server.url, 10).status_code == 200


def test_a_client_that_leaves_before_its_body_is_there_is_counted_as_such(server):
    name = 'kebyt5_requests_total{route="other",status="499"}'
    before = server.metric(name)
    sent(server, {"input": LONG}, length=9).close()
    server.wait_for(lambda: server.metric(name) > before)
    assert server.metric('kebyt5_requests_total{route="other",status="0"}') == 0


def test_a_crowd_is_refused_and_the_queue_drains(server, greedy):
    answers = []

    def ask():
        answers.append(generate(server.url, 200))

    crowd = [threading.Thread(target=ask) for _ in range(12)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 4
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert answer.json()["results"][0]["text"] == greedy(LONG, 200)
    assert server.metric("kebyt5_queue") == 0
    assert generate(server.url, 10).status_code == 200


def test_a_thousand_connections_that_send_nothing(server):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    try:
        assert generate(server.url, 10).status_code == 200
        # They are not waited for without end, nor are those who send half of a request.
        half_head = socket.create_connection(("127.0.0.1", server.port))
        half_head.sendall(b"POST /v1/generate HTTP/1.1\r\n")
        half_body = sent(server, {"input": "가"}, length=5)
        assert received(idle[0]) == received(idle[-1]) == received(half_head) == ""
        assert " 408 " in received(half_body).splitlines()[0]
    finally:
        for connection in idle:
            connection.close()
    assert generate(server.url, 10).status_code == 200


def test_large_bodies_cost_no_memory(server):
    generate(server.url, 10)
    before = server.metric("process_resident_memory_bytes")
    for _ in range(20):
        body = {"input": "가" * 3_500_000}
        assert httpx2.post(f"{server.url}/v1/generate", json=body, timeout=60).status_code == 413
    assert server.metric("process_resident_memory_bytes") - before < 20_000_000


def test_bytes_that_are_not_http_get_a_400(server):
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")
    answer = received(connection)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "application/problem+json" in answer


def test_sigterm_finishes_what_is_accepted(tmp_path, greedy):
    with running(tmp_path, "--slots", 2, "--queue", 10, "--max-texts", 4) as server:
        answers = {}

        def ask(number):
            request = GenerateRequest(input=SENTENCES[number % 3] * 3, max_new_bytes=300)
            with Client(server.url) as client:
                if number % 2:
                    (result,) = client.generate(request).results
                    answers[number] = result.text
                else:
                    *pieces, _ = client.stream(request)
                    answers[number] = "".join(piece.text for piece in pieces)

        asking = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
        for each in asking:
            each.start()
        server.wait_for(lambda: server.metric("kebyt5_queue") > 5)
        taken = server.metric("kebyt5_queue") + server.metric("kebyt5_batch")
        done = len(answers)
        server.wait_for(
            lambda: (
                server.metric("kebyt5_queue") + server.metric("kebyt5_batch") + len(answers) >= 10
            )
        )
        # An open page of the playground holds a response that would never end.
        with httpx2.stream("GET", f"{server.url}/gradio_api/heartbeat/page", timeout=120) as page:
            assert next(page.iter_text()).startswith("data:")
            server.process.send_signal(signal.SIGTERM)
            for each in asking:
                each.join()
            server.process.wait()
        assert taken + done > 5
        expected = [greedy(sentence * 3, 300) for sentence in SENTENCES]
        assert answers == {n: expected[n % 3] for n in range(10)}
        logged = [line for line in server.log() if line.get("route") == "/v1/generate"]
        assert [line["status"] for line in logged] == [200] * 10
        assert not [line for line in server.log() if line["level"] == "error"]
        with pytest.raises(httpx2.ConnectError):
            generate(server.url, 10)


def test_a_stopping_server_may_be_announced_before_it_refuses(tmp_path):
    with running(tmp_path, "--lame-duck-seconds", 3, "--no-playground") as server:
        assert httpx2.get(f"{server.url}/readyz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: httpx2.get(f"{server.url}/readyz").status_code == 503)
        assert generate(server.url, 10).status_code == 200
        server.process.wait(60)
        assert not [line for line in server.log() if line["level"] == "error"]
