"""The playground is at the root, and unknown paths are refused as problem+json."""

import sys
from types import ModuleType

from starlette.testclient import TestClient

from kebyt5.serving.app import create_app
from kebyt5.serving.mounting import mount_playground
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService
from tests.serving.servers import served


def test_the_playground_is_at_the_root_and_the_routes_stay(model, monkeypatch, caplog, capfd):
    import gradio

    def build(models):
        with gradio.Blocks(title=f"asks {', '.join(models)}") as page:
            text = gradio.Textbox()
            text.submit(lambda text: 1 / 0, text)
        return page

    stub = ModuleType("kebyt5.serving.playground")
    stub.build = build
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    options = ServeOptions()
    services = {"tiny": LocalService("tiny", model, options)}
    app = create_app(services, options)
    mount_playground(app, services)
    with TestClient(app) as client:
        assert "asks tiny" in client.get("/").text
        body = {"input": "가", "max_new_bytes": 3}
        assert client.post("/v1/generate", json=body).status_code == 200
        assert client.get("/docs").status_code == 200
        # Whatever it does not know is refused as elsewhere, and files are.
        for path in ("/v1/nothing", "/v1/generate/", "/v1/tasks/ner/", "/nothing"):
            response = client.post(path, json={})
            assert response.status_code in (404, 405)
            assert response.headers["content-type"] == "application/problem+json"
        for name in ("upload", "process_recording", "component_server", "run/predict"):
            upload = client.post(f"/gradio_api/{name}", files={"files": b"a" * 1000})
            assert (upload.status_code, upload.json()["title"]) == (404, "Not Found")
        assert client.get("/gradio_api/deep_link").status_code == 404
        # Gradio would fetch what looks like a file.
        file = {"path": "http://example.com/a", "meta": {"_type": "gradio.FileData"}}
        for data in ([file], [[file]], ["가", "나"], [], "x" * 10, None):
            content = {"data": data, "fn_index": 0, "session_hash": "a"}
            assert client.post("/gradio_api/queue/join", json=content).status_code == 422
        content = {"data": ["나의 비밀"], "session_hash": "a"}
        for index in (1, -1, "0", [], None):  # functions that there are not
            content["fn_index"] = index
            assert client.post("/gradio_api/queue/join", json=content).status_code == 422
        # And it would fetch files from elsewhere, and keep streams open.
        for path in ("file=http://example.com/a", "proxy=http://example.com/a", "dev/reload"):
            assert client.get(f"/gradio_api/{path}").status_code == 404
        question = {"data": ["나의 비밀"], "session_hash": "a", "fn_index": 0}
        assert client.post("/gradio_api/queue/join", json=question).status_code == 200
        events = client.get("/gradio_api/queue/data?session_hash=a").text
        assert "process_completed" in events
        assert "page failed" in caplog.text
        assert "비밀" not in caplog.text + "".join(capfd.readouterr())
        gone = client.get("/gradio_api/queue/data?session_hash=of-yesterday")
        assert (gone.status_code, "load the page again" in gone.json()["detail"]) == (404, True)


def test_without_the_playground_the_root_leads_to_the_documentation(model, monkeypatch):
    monkeypatch.setattr("kebyt5.serving.mounting.find_spec", lambda name: None)
    with served(model) as client:
        mount_playground(client.app, client.app.state.services)
        response = client.get("/", follow_redirects=False)
        assert response.headers["location"] == "docs"
        assert client.get("/v1/models").status_code == 200
