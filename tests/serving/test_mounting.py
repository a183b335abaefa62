"""The playground is at the root, and unknown paths are refused as problem+json."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from servers import served
from starlette.testclient import TestClient

from kebyt5.serving.app import create_app
from kebyt5.serving.mounting import mount_playground
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService


def test_the_playground_is_at_the_root_and_the_routes_stay(model, monkeypatch):
    import gradio

    def build(models):
        with gradio.Blocks(title=f"asks {', '.join(models)}") as page:
            gradio.Textbox()
        return page

    stub = ModuleType("kebyt5.serving.playground")
    stub.__spec__ = ModuleSpec(stub.__name__, None)
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
        for data in ([file], [[file]], "x" * 10, None):
            content = {"data": data, "fn_index": 0, "session_hash": "a"}
            refused = client.post("/gradio_api/queue/join", json=content)
            assert refused.status_code == 422 or data == "x" * 10
        assert client.get("/gradio_api/info").status_code == 200


def test_without_the_playground_the_root_leads_to_the_documentation(model, monkeypatch):
    monkeypatch.setattr("kebyt5.serving.mounting.find_spec", lambda name: None)
    with served(model) as client:
        mount_playground(client.app, client.app.state.services)
        response = client.get("/", follow_redirects=False)
        assert response.headers["location"] == "docs"
        assert client.get("/v1/models").status_code == 200
