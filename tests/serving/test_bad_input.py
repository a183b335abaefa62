"""Bad input gets a 4xx as problem+json that says what to do, and affects no other request."""

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kebyt5.serving.logs import JSONFormatter
from kebyt5.serving.problems import Problem
from tests.serving.servers import LONG, SENTENCES, served


def refused(response, status, *parts):
    """The response is a problem with this status whose detail has all these parts."""
    assert response.status_code == status, response.text[:300]
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    for part in parts:
        assert part in problem["detail"]
    return problem


def post(client, content, path="/v1/generate"):
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("content", "status", "part"),
    [
        (b"", 422, "missing"),
        (b"{", 400, "not valid JSON"),
        (b"\xff\xfe\x00\x81", 400, "not valid JSON"),
        (b"\x80abc", 400, "UTF-8"),
        ("{'input': '가'}".encode(), 400, "not valid JSON"),
        (b"[" * 100_000, 400, "JSON"),
        (b'{"input": ' + b"1" * 10_000 + b"}", 400, "JSON"),
        (b"[]", 422, "object"),
        (b"null", 422, ""),
        (b'{"input": ""}', 422, "at least 1 character"),
        (b'{"input": []}', 422, "at least 1 item"),
        (b'{"input": "\\ud800"}', 422, "lone surrogate"),
        (b'{"input": "a", "temperature": NaN}', 422, "temperature"),
        (b'{"input": "a", "temperature": 1e400}', 422, "temperature"),
        (b'{"input": "a", "max_new_bytes": "3"}', 422, "max_new_bytes"),
        (b'{"input": "a", "max_new_bytes": -1}', 422, "max_new_bytes"),
        (b'{"input": "a", "max_new_bytes": 1000000}', 422, "at most 4096"),
        (b'{"input": "a", "seed": 99999999999999999999999}', 422, "seed"),
        (b'{"input": "a", "stop": [""]}', 422, "stop"),
        (b'{"input": "a", "temprature": 1}', 422, "there is no such field"),
        (b'{"input": "a", "top_p": 0.5}', 422, "give a temperature"),
        (b'{"input": "a", "deadline": 0}', 422, "deadline"),
        (b'{"input": "a", "model": "none"}', 404, "served are tiny"),
        (b'{"input": ["a", "b<extra_id_11>"], "sentinels": "pretraining"}', 422, "11 blanks"),
        (b'{"input": "<extra_id_11>", "sentinels": "pretraining", "stream": true}', 422,
         "11 blanks"),
        (b'{"input": "a", "constraint": {}}', 422, "exactly one"),
        (b'{"input": "a", "constraint": {"regex": "a", "labels": ["b"]}}', 422, "exactly one"),
        (b'{"input": "a", "constraint": {"labels": []}}', 422, "labels"),
        (b'{"input": "a", "constraint": {"labels": ["a", "abcd"]}, "max_new_bytes": 3}', 422,
         "a label has 4 bytes, but max_new_bytes is 3"),
    ],
)  # fmt: skip
def test_malformed_requests(client, content, status, part):
    refused(post(client, content), status, part)


def test_a_refusal_quotes_korean_as_it_was_written(client):
    response = post(client, b"{}", "/v1/tasks/감정")
    refused(response, 404, "unknown task '감정'")
    assert "감정" in response.content.decode()
    assert json.loads(Problem(422, "감정\ud800").body())["detail"] == "감정\ud800"


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("constraint", "part"),
    [
        ({"regex": "("}, "unclosed group"),
        ({"regex": "[^\\x00-\\U0010ffff]"}, "allows no text"),
        ({"regex": "((a{1000}){1000}){1000}"}, "refused"),
        ({"regex": "a" * 70_000}, "at most 65536"),
        ({"regex": "(" * 20_000 + "a" + ")" * 20_000}, "refused"),
        ({"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}}, "Unsatisfiable"),
        ({"json_schema": {"type": "no such type"}}, "refused"),
        ({"json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}}, "refused"),
        ({"json_schema": nested(300)}, "recursion limit"),
        ({"grammar": "nothing here"}, "refused"),
        ({"grammar": 'start: "a" start'}, "refused"),
        ({"grammar": 'start: a{1000000}\na: "x"'}, "refused"),
        ({"grammar": "\n".join([f"r{i}: r{i + 1} r{i + 1} | r{i + 1}" for i in range(500)]
                               + ['r500: "a"', "start: r0"])}, "refused"),
        ({"json_schema": {"const": "가" * 22_000}}, "has 66012 bytes"),
        ({"labels": ["가" * 80 + str(i) for i in range(1000)]}, "at most 65536"),
    ],
)  # fmt: skip
def test_constraints_that_cannot_be_kept_or_explode(client, constraint, part):
    response = client.post("/v1/generate", json={"input": "가", "constraint": constraint})
    detail = refused(response, 422, part)["detail"]
    assert len(detail) < 600


def test_a_stream_is_refused_with_a_status_too(client):
    body = {"input": "가", "constraint": {"regex": "("}, "stream": True}
    refused(client.post("/v1/generate", json=body), 422, "unclosed group")


def test_a_grammar_that_explodes_later_ends_its_own_text(client, greedy):
    # Behind two letters, whichever they are, all its rules are possible at once.
    rules = [f"x{i}: /c/ x{(i + 1) % 1100} | /d/" for i in range(1100)]
    behind = " | ".join(f"x{i}" for i in range(1100))
    grammar = "\n".join([f"start: /[ab]/ /[ab]/ ({behind})", *rules])
    bodies = [{"input": LONG, "max_new_bytes": 60},
              {"input": LONG, "max_new_bytes": 60, "constraint": {"grammar": grammar}}]  # fmt: skip
    with ThreadPoolExecutor() as pool:
        other, own = pool.map(lambda body: client.post("/v1/generate", json=body), bodies)
    assert len(refused(own, 422, "the grammar is refused")["detail"]) < 600
    assert other.json()["results"][0]["text"] == greedy(LONG, 60)


@pytest.mark.parametrize(
    ("path", "body", "status", "part"),
    [
        ("/v1/tasks/nerr", {"input": {}}, 404, "did you mean 'ner'? Known: ynat, ner"),
        ("/v1/nothing", {}, 404, "/openapi.json"),
        ("/v1/generate/", {"input": "가"}, 404, "/openapi.json"),
        ("/v1/tasks/ner", {"input": 5}, 422, "expected a JSON object"),
        ("/v1/tasks/ner", {"input": {"text": "가"}}, 422, "sentence"),
        ("/v1/tasks/ner", {"input": {"sentence": "가"}, "decoding": "x"}, 422, "no such"),
        ("/v1/tasks/dp", {"input": {"sentence": "가", "words": [
            {"word": "가\t", "lemmas": "가", "tags": "NNG"}]}}, 422, "word"),
        ("/v1/tasks/mrc", {"input": {"question": "가" * 3000, "context": "나" * 2000}}, 422,
         "leaves too little room"),
        ("/v1/tasks/wos", {"input": {"turns": [{"speaker": "dog", "text": "월"}]}}, 422, "speaker"),
        ("/v1/fill", {"text": "가"}, 422, "once each in this order"),
        ("/v1/fill", {"text": "<extra_id_1>가<extra_id_0>"}, 422, "order"),
        ("/v1/fill", {"text": f"<extra_id_0> <extra_id_{'9' * 5000}>"}, 422, "is not a blank"),
        ("/v1/fill", {"text": "".join(f"<extra_id_{i}>" for i in range(12))}, 422, "11"),
        ("/v1/fill", {"text": "<extra_id_0>", "beams": 2, "results": 3}, 422, "more beams"),
        ("/v1/score", {"input": "가", "candidates": []}, 422, "candidates"),
        ("/v1/generate", {"input": "가", "a/b~c": 1}, 422, "/body/a~1b~0c: there is no such"),
        ("/v1/generate", {"input": "가", "one": 1}, 422, "/body/one: there is no such"),
        ("/v1/generate", {"input": "가", "x" * 10**6: 1}, 422, f"/body/{'x' * 60}…: there is"),
        ("/v1/score", {"input": "가", "candidates": ["나" * 5000]}, 422, "at most"),
        ("/v1/embed", {"input": "가" * 10_000}, 422, "send at most 16384"),
        ("/v1/generate", {"input": ["가"] * 65}, 422, "at most 64 in one request"),
    ],
)  # fmt: skip
def test_what_other_routes_refuse(client, path, body, status, part):
    refused(client.post(path, json=body), status, part)


def test_thousands_of_mistakes_are_one_error(client):
    """To list them all would keep the server from answering anybody for seconds."""
    words = {"input": [{"sentence": "가", "words": [{}] * 500}] * 60}
    response = client.post("/v1/tasks/dp", json=words)
    refused(response, 422, "/body/input/0/words/0")
    assert len(response.json()["errors"]) <= 3  # the fields of one word
    unknown = {"input": "가"} | {f"x{n}": 1 for n in range(5000)}
    refused(client.post("/v1/generate", json=unknown), 422, "5001 fields")
    refused(client.post("/v1/generate", json={"input": [1] * 60}), 422, "/body/input/0")


@pytest.mark.parametrize("levels", [400, *range(940, 1000, 6), 5000])
def test_schemas_of_many_levels(client, levels):
    schema = '{"not":' * levels + "{}" + "}" * levels
    content = f'{{"input": "가", "constraint": {{"json_schema": {schema}}}}}'
    assert post(client, content.encode()).status_code in (400, 422)


def test_a_wrong_method_and_a_wrong_type(client):
    refused(client.get("/v1/generate"), 405, "Allow")
    content = json.dumps({"input": "가"})
    response = client.post("/v1/generate", content=content, headers={"Content-Type": "text/csv"})
    refused(response, 422, "Content-Type: application/json")


def test_a_body_that_is_too_large_is_not_read(client):
    refused(post(client, b'{"input": "' + b"a" * 10_000_000 + b'"}'), 413, "1048576")
    read = 0

    def endless():
        nonlocal read
        while read < 10_000_000:
            read += 65_536
            yield b"a" * 65_536

    refused(post(client, endless()), 413, "1048576")


def test_keys(model, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("# the first\nabc\n\ndef\n")
    with served(model, api_keys=keys) as client:
        body = {"input": "가", "max_new_bytes": 3}
        for header in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer abcd"},
                       {"Authorization": "Basic abc"}):  # fmt: skip
            response = client.post("/v1/generate", json=body, headers=header)
            refused(response, 401, "Authorization: Bearer KEY")
            assert response.headers["www-authenticate"] == "Bearer"
        # Not even the path or the size of the body is looked at.
        refused(client.post("/v1/nothing", content=b"a" * 2_000_000), 401)
        for key in ("abc", "def"):
            header = {"Authorization": f"Bearer {key}"}
            assert client.post("/v1/generate", json=body, headers=header).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_more_than_there_is_room_for_is_refused_at_once(model):
    with served(model, slots=1, queue=2, max_texts=3) as client, ThreadPoolExecutor() as pool:
        places = client.app.state.services["tiny"].places
        # Takes its time: of no letter does the input say which comes next.
        body = {"input": ["가", "나"], "constraint": {"regex": "[a-z]{1000}"}, "deadline": 5}
        asked = pool.submit(client.post, "/v1/generate", json=body | {"max_new_bytes": 4096})
        while places.taken < 2:
            time.sleep(0.01)
        response = client.post("/v1/generate", json={"input": ["가", "나"]})
        refused(response, 429, "2 of 3 places are taken", "try again in")
        assert int(response.headers["retry-after"]) >= 1
        one = client.post("/v1/generate", json={"input": "가", "max_new_bytes": 3})
        assert one.status_code == 200
        assert asked.result().status_code == 200
        with places.take(3):
            unread = client.post("/v1/generate", content=b"{")
            assert client.post("/v1/models").status_code == 405
            assert client.get("/v1/models").status_code == 200
        refused(unread, 429, "3 of 3 places are taken")
        refused(client.post("/v1/generate", content=b"{"), 422)
        assert 'route="/v1/generate",status="429"} 2.0' in client.get("/metrics").text
        assert places.taken == 0


def test_a_task_that_is_not_done_in_time(client):
    inputs = [{"sentence": sentence} for sentence in SENTENCES * 20]
    response = client.post("/v1/tasks/ner", json={"input": inputs, "deadline": 0.1})
    refused(response, 504, "deadline")
    response = client.post("/v1/fill", json={"text": f"{LONG}<extra_id_0>", "beams": 16,
                                             "max_bytes": 512, "deadline": 0.1})  # fmt: skip
    refused(response, 504, "deadline")


def test_an_error_of_ours_tells_nothing_and_hurts_nobody(model, monkeypatch, caplog):
    async def broken(self, request):
        raise RuntimeError(f"cannot read {request.text}")

    monkeypatch.setattr("kebyt5.serving.service.LocalService.fill", broken)
    with served(model) as client, caplog.at_level(logging.INFO, "kebyt5.serving"):
        response = client.post("/v1/fill", json={"text": "비밀 <extra_id_0>"})
        refused(response, 500, "log")
        assert client.get("/healthz").status_code == 200
    lines = [JSONFormatter().format(record) for record in caplog.records]
    failed = next(json.loads(line) for line in lines if "failed" in line)
    assert failed["exception"] == "RuntimeError"
    assert "broken" in failed["trace"][-1]
    assert failed["request_id"] == response.headers["x-request-id"]
    assert not any("비밀" in line for line in lines)


def test_logs_have_no_text(client, caplog):
    with caplog.at_level(logging.INFO):
        for path, body in (
            ("/v1/generate", {"input": "비밀번호", "max_new_bytes": 40}),
            ("/v1/tasks/비밀번호", {}),
            ("/v1/tasks/ner", {"input": {"sentence": "비밀번호"}, "비밀번호": 1}),
        ):
            client.post(path, json=body, headers={"X-Request-ID": "비밀번호".encode().hex()})
            client.post(f"{path}?비밀번호", json=body, headers={"X-Request-ID": "a b"})
    lines = [json.loads(JSONFormatter().format(record)) for record in caplog.records]
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == 6
    assert {line["route"] for line in requests} >= {"/v1/generate", "/v1/tasks/{task}"}
    assert requests[0]["bytes_in"] == 12
    assert "bytes_in" not in requests[2]
    assert not any("비밀번호" in json.dumps(line, ensure_ascii=False) for line in lines)
