"""The responses of the routes."""

import asyncio
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import predict
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.serving.app import create_app
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.schemas import GenerateRequest, TextPiece
from kebyt5.serving.service import LocalService
from kebyt5.serving.tasks import MESSAGES, REQUESTS, examples_of
from kebyt5.tasks import get_task
from tests.serving.servers import LONG, SENTENCES, plain_greedy, served, texts


def events(response):
    """Names and data of server-sent events."""
    blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
    return [(b[0].removeprefix("event: "), json.loads(b[1].removeprefix("data: "))) for b in blocks]


# Generation


def test_a_text_is_that_of_plain_greedy_search(client, greedy):
    response = client.post("/v1/generate", json={"input": LONG, "max_new_bytes": 120})
    assert response.status_code == 200
    (result,) = response.json()["results"]
    assert result["text"] == greedy(LONG, 120)
    assert result["statistics"]["passes"] > 0


def test_requests_at_the_same_time_do_not_change_each_other(client, model):
    inputs = texts(24)

    def ask(text):
        body = {"input": text, "max_new_bytes": 60}
        return client.post("/v1/generate", json=body).json()["results"][0]["text"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, inputs))
    assert answers == plain_greedy(model, inputs, 60)


def test_a_batch_is_answered_in_its_order(client, model):
    inputs = texts(5, seed=1)
    body = {"input": inputs, "max_new_bytes": 40}
    results = client.post("/v1/generate", json=body).json()["results"]
    assert [result["text"] for result in results] == plain_greedy(model, inputs, 40)


@pytest.mark.parametrize(
    ("constraint", "is_right"),
    [
        ({"labels": ["함의", "중립"]}, lambda text: text in ("함의", "중립")),
        ({"regex": "[0-9]{4}년"}, lambda text: text[:4].isdigit() and text[4:] == "년"),
        (
            {"json_schema": {"type": "object", "properties": {"a": {"enum": [1, 2]}},
                             "required": ["a"], "additionalProperties": False}},
            lambda text: json.loads(text)["a"] in (1, 2),
        ),
        ({"grammar": 'start: "가" ("나" | "다")+ "라"'}, lambda text: text[0] == "가"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_constraint_is_kept(client, constraint, is_right):
    body = {"input": SENTENCES[0], "constraint": constraint, "max_new_bytes": 60}
    (result,) = client.post("/v1/generate", json=body).json()["results"]
    assert is_right(result["text"]), result


def test_sampling_depends_on_the_seed_alone(client):
    body = {"input": LONG, "temperature": 1.5, "top_p": 0.9, "seed": 3, "max_new_bytes": 60}
    first, second, other = (
        client.post("/v1/generate", json=body | {"seed": seed}).json()["results"][0]["text"]
        for seed in (3, 3, 4)
    )
    assert first == second != other


def test_output_ends_before_a_stop_text(client, greedy):
    whole = greedy(LONG, 200)
    stop = whole[9:12]
    body = {"input": LONG, "stop": [stop], "max_new_bytes": 200}
    (result,) = client.post("/v1/generate", json=body).json()["results"]
    assert result["finish"] == "stop"
    assert result["text"] == whole[: whole.index(stop)]


def test_a_stream_gives_the_same_text_in_whole_characters(client, greedy):
    inputs = texts(3, seed=2)
    body = {"input": inputs, "max_new_bytes": 80, "stream": True}
    response = client.post("/v1/generate", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    received = events(response)
    for index, text in enumerate(inputs):
        mine = [(name, data) for name, data in received if data["index"] == index]
        assert [name for name, _ in mine] == ["text"] * (len(mine) - 1) + ["end"]
        pieces = [data["text"] for _, data in mine[:-1]]
        assert "".join(pieces) == greedy(text, 80)
        assert "\ufffd" not in "".join(pieces)


def test_a_stream_that_is_not_read_on_gives_its_places_back(model, greedy):
    async def scenario():
        service = LocalService("tiny", model, ServeOptions(slots=2, queue=2, max_texts=2))
        service.worker.start()
        request = GenerateRequest(input=[LONG, LONG], max_new_bytes=100)
        events = service.stream(request)
        assert await anext(events) is None
        assert service.places.taken == 2
        while service.places.taken:
            await asyncio.sleep(0.01)
        texts = ["", ""]
        async for event in events:
            if isinstance(event, TextPiece):
                texts[event.index] += event.text
        await service.stop()
        return texts

    assert asyncio.run(asyncio.wait_for(scenario(), 300)) == [greedy(LONG, 100)] * 2


def test_a_stream_that_fails_is_logged_and_counted_as_that(client, monkeypatch, caplog):
    async def fail(self, request):
        yield None
        raise RuntimeError("a text of somebody")

    monkeypatch.setattr(LocalService, "stream", fail)
    with caplog.at_level(logging.INFO, "kebyt5.serving"):
        response = client.post("/v1/generate", json={"input": "가", "stream": True})
    ((name, problem),) = events(response)
    assert (name, problem["status"]) == ("error", 500)
    assert "somebody" not in response.text
    lines = {record.getMessage(): record for record in caplog.records}
    assert lines["failed"].exc_info[0] is RuntimeError
    assert lines["request"].fields["status"] == 500


def test_how_long_a_stream_took_counts_for_how_long_others_wait(model):
    async def scenario():
        service = LocalService("tiny", model, ServeOptions(slots=2, queue=2, max_texts=2))
        service.worker.start()
        before = service.places._seconds
        async for _ in service.stream(GenerateRequest(input="가", max_new_bytes=5)):
            pass
        await service.stop()
        return before, service.places._seconds

    before, after = asyncio.run(asyncio.wait_for(scenario(), 300))
    assert after != before


def test_a_text_ends_where_it_is_at_the_deadline(client):
    body = {"input": LONG, "max_new_bytes": 4096, "deadline": 0.3}
    (result,) = client.post("/v1/generate", json=body).json()["results"]
    assert result["finish"] == "deadline"


# Tasks


@pytest.mark.parametrize("task", MESSAGES)
def test_a_task_answers_as_the_command_line_does(client, model, task):
    body = {"input": [dict(MESSAGES[task].example)] * 2}
    response = client.post(f"/v1/tasks/{task}", json=body)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    the_task = get_task(task)
    examples = examples_of(the_task, REQUESTS[task].model_validate(body))
    expected = predict(model, the_task, examples, PredictOptions())
    assert [result["text"] for result in results] == expected.texts
    if expected.log_likelihoods is not None:
        given = [list(result["log_likelihoods"].values()) for result in results]
        np.testing.assert_allclose(given, expected.log_likelihoods, atol=1e-3)


def test_a_long_context_is_read_in_windows(client, model):
    input = {"question": "어디인가?", "context": " ".join(SENTENCES * 30)}
    response = client.post("/v1/tasks/mrc", json={"input": input})
    (result,) = response.json()["results"]
    assert result["shortened"]
    task = get_task("mrc")
    assert [result["text"]] == predict(model, task, [task.example(**input)]).texts


def answers_of(model, task, output, monkeypatch):
    """A task's answer if the model writes a given text."""
    monkeypatch.setattr("kebyt5.serving.service.LocalService._answers", lambda *_: ready(output))
    with served(model) as client:
        body = {"input": dict(MESSAGES[task].example)}
        return client.post(f"/v1/tasks/{task}", json=body).json()["results"][0]


async def ready(output):
    return [output]


def test_entities_have_character_offsets(model, monkeypatch):
    result = answers_of(model, "ner", "<김하늘:PS> 씨는 <서울:LC>에 산다.", monkeypatch)
    assert result["entities"] == [
        {"text": "김하늘", "type": "PS", "start": 0, "end": 3},
        {"text": "서울", "type": "LC", "start": 7, "end": 9},
    ]


def test_a_tree_has_heads_and_labels(model, monkeypatch):
    text = "deprel: (1/2, 3, NP_SBJ)▁(2/2, 3, NP_AJT)▁(3/3, 0, VP)\nword_counts: 3"
    words = answers_of(model, "dp", text, monkeypatch)["words"]
    assert [(word["index"], word["head"], word["label"]) for word in words] == [
        (1, 3, "NP_SBJ"), (2, 3, "NP_AJT"), (3, 0, "VP"),
    ]  # fmt: skip
    beyond = text.replace("(1/2, 3", "(1/2, 99")
    first, second, _ = answers_of(model, "dp", beyond, monkeypatch)["words"]
    assert (first["head"], first["label"]) == (None, "NP_SBJ")
    assert second["head"] == 3


def test_an_answer_has_its_evidence(model, monkeypatch):
    result = answers_of(model, "mrc", "출력: 서울\n정답임", monkeypatch)
    assert result["answer"] == "서울"
    assert result["evidence"] == {"start": 8, "end": 10, "text": "서울"}
    result = answers_of(model, "mrc", "출력: [알 수 없음]\n정답임", monkeypatch)
    assert (result["answer"], result["evidence"]) == (None, None)


def test_a_dialogue_state_is_a_list_of_slots(model, monkeypatch):
    result = answers_of(model, "wos", "숙소-지역=서울 중앙▁숙소-종류=호텔", monkeypatch)
    assert {"domain": "숙소", "slot": "지역", "value": "서울 중앙"} in result["state"]
    assert len(result["state"]) == 2


def test_turns_are_what_the_task_reads_off_its_files(tmp_path):
    turns = [{"role": "user", "text": "호텔이요.", "state": ["숙소-종류-호텔"]},
             {"role": "sys", "text": "어느 지역이요?", "state": []},
             {"role": "user", "text": "서울이요.", "state": []}]  # fmt: skip
    file = tmp_path / "wos.json"
    file.write_text(json.dumps([{"guid": "d", "dialogue": turns}]))
    speakers = {"user": "user", "sys": "system"}
    body = {"turns": [{"speaker": speakers[t["role"]], "text": t["text"]} for t in turns]}
    request = REQUESTS["wos"].model_validate({"input": body})
    task = get_task("wos")
    assert examples_of(task, request)[0].inputs == task.read(file)[-1].inputs


def test_labels_come_with_likelihoods(client):
    body = {"input": {"document": "정말 재미있다!"}}
    (result,) = client.post("/v1/tasks/nsmc", json=body).json()["results"]
    assert result["label"] == max(result["probabilities"], key=result["probabilities"].get)
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    body |= {"decoding": "generation", "constrain": True}
    (result,) = client.post("/v1/tasks/nsmc", json=body).json()["results"]
    assert result["label"] in ("positive", "negative")
    assert result["probabilities"] is None


# Likelihoods, blanks, vectors


def test_scores_are_log_likelihoods(client, model):
    body = {"input": SENTENCES[0], "candidates": [SENTENCES[0], SENTENCES[1], ""]}
    answer = client.post("/v1/score", json=body).json()
    (expected,) = log_likelihoods(model, [body["input"]], [body["candidates"]])
    given = [score["log_likelihood"] for score in answer["scores"]]
    np.testing.assert_allclose(given, expected, atol=1e-3)
    assert answer["best"] == int(expected.argmax())


def test_blanks_are_filled_the_likeliest_first(client):
    body = {"text": "한국의 <extra_id_0>은 서울<extra_id_1>.", "max_bytes": 6, "results": 3}
    fillings = client.post("/v1/fill", json=body).json()["fillings"]
    likelihoods = [filling["log_likelihood"] for filling in fillings]
    assert likelihoods == sorted(likelihoods, reverse=True)
    for filling in fillings:
        first, second = filling["spans"]
        assert filling["text"] == f"한국의 {first}은 서울{second}."


def test_vectors_do_not_depend_on_the_batch(client, model):
    inputs = texts(6, seed=3)
    together = client.post("/v1/embed", json={"input": inputs}).json()["embeddings"]
    alone = [client.post("/v1/embed", json={"input": each}).json()["embeddings"][0]
             for each in inputs]  # fmt: skip
    np.testing.assert_allclose(together, alone, atol=1e-4)
    normalized = client.post("/v1/embed", json={"input": inputs, "normalize": True}).json()
    np.testing.assert_allclose(torch.tensor(normalized["embeddings"]).norm(dim=1), 1, atol=1e-5)
    assert len(alone[0]) == model.config.d_model


# Several models, and the rest


def test_models_are_chosen_by_name(tiny_model):
    from kebyt5.serving.options import ServeOptions
    from kebyt5.serving.service import LocalService

    options = ServeOptions()
    services = {name: LocalService(name, tiny_model(d_ff=size), options)
                for name, size in (("one", 48), ("two", 64))}  # fmt: skip
    with TestClient(create_app(services, options)) as client:
        listed = client.get("/v1/models").json()["models"]
        assert [each["name"] for each in listed] == ["one", "two"]
        body = {"input": "가", "max_new_bytes": 3}
        assert client.post("/v1/generate", json=body).json()["model"] == "one"
        body["model"] = "two"
        assert client.post("/v1/generate", json=body).json()["model"] == "two"
        refused = client.post("/v1/generate", json=body | {"model": "three"})
        assert refused.status_code == 404
        assert "one, two" in refused.json()["detail"]


def test_a_service_has_decoded_a_full_batch_before_it_is_ready(tiny_model):
    model, sizes = tiny_model(), []
    threads = set()

    def noted(_, inputs):
        sizes.append(len(inputs[0]))
        threads.add(threading.current_thread().name)

    model.encoder.register_forward_pre_hook(noted)
    service = LocalService("tiny", model, ServeOptions(slots=8))
    service.start()
    service.worker.stop()
    assert max(sizes) == 8
    assert threads == {"tiny"}  # the worker's, whose products the texts to come are
    assert service.worker.engine.statistics.passes == 0  # of nobody's texts


def test_probes_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
    client.post("/v1/generate", json={"input": "가나다", "max_new_bytes": 30})
    text = client.get("/metrics").text
    for sample in (
        'kebyt5_requests_total{route="/v1/generate",status="200"}',
        'kebyt5_queue{model="tiny"} 0.0',
        'kebyt5_batch{model="tiny"} 0.0',
        'kebyt5_generated_ids_total{how="copied",model="tiny"}',
        'kebyt5_text_bytes_total{direction="out",model="tiny"}',
        "kebyt5_request_seconds_bucket",
        "process_resident_memory_bytes",
    ):
        assert sample in text


def test_bytes_of_tasks_are_counted(client):
    sample = 'kebyt5_text_bytes_total{direction="in",model="tiny"}'

    def counted():
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(sample))

    before = counted()
    turns = [{"speaker": "user", "text": "가나"}]
    assert client.post("/v1/tasks/wos", json={"input": {"turns": turns}}).status_code == 200
    assert counted() - before == len("user가나".encode())
    assert client.post("/v1/generate", json={"input": "a" * 200_000}).status_code == 422
    assert counted() - before == len("user가나".encode())


def test_the_description_has_examples_and_every_route(client):
    description = client.get("/openapi.json").json()
    for path in ("/v1/generate", "/v1/fill", "/v1/score", "/v1/embed", "/healthz", "/metrics"):
        assert path in description["paths"]
    for task in MESSAGES:
        operation = description["paths"][f"/v1/tasks/{task}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        assert description["components"]["schemas"][name]["properties"]["input"]["examples"]
        refusal = operation["responses"]["429"]["content"]
        assert list(refusal) == ["application/problem+json"]
        assert "detail" in refusal["application/problem+json"]["schema"]["properties"]
