"""Tasks of other packages are known wherever those of this one are."""

import json
import os
import subprocess
import sys

import pytest

MODULE = """
from kebyt5.tasks import Example
from kebyt5.tasks.label import LabelTask


class Hate(LabelTask):
    name = "hate"
    title = "Hate speech"
    formats = "tsv"
    input_fields = ("comment",)
    labels = ("none", "hate")

    def input_text(self, example: Example) -> str:
        return f"hate speech: {example.inputs['comment']}"
"""

SERVE = """
import json
from fastapi.testclient import TestClient
from kebyt5.models.loading import load
from kebyt5.serving.app import create_app
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.playground.asking import ask
from kebyt5.serving.service import LocalService

service = LocalService("tiny", load("tiny"), ServeOptions(), 1)
with TestClient(create_app({"tiny": service}, ServeOptions())) as client:
    answer = client.post("/v1/tasks/hate", json={"input": {"comment": "좋다"}})
    asked = ask(service, "hate", {"comment": "좋다"})
print(json.dumps([answer.json()["results"][0]["label"], asked.parsed.value]))
"""


@pytest.fixture
def package(tmp_path):
    """A folder that contains an installed package with a task."""
    information = tmp_path / "hate_speech-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hate-speech\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[kebyt5.tasks]\nhate = hate_speech:Hate\n")
    (tmp_path / "hate_speech.py").write_text(MODULE)
    return tmp_path


def python(package, *arguments):
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip


def test_commands_know_a_task_of_another_package(package, tmp_path):
    assert "Hate speech" in python(package, "-m", "kebyt5", "tasks").stdout
    data = tmp_path / "data.tsv"
    data.write_text("comment\tlabel\n좋다\tnone\n나가라\t1\n")
    asked = ("--task", "hate", "--data", data, "--limit", 2, "--output", tmp_path / "scores")
    done = python(package, "-m", "kebyt5", "evaluate", "tiny", *asked)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["task"] == "hate"


def test_the_server_and_the_playground_know_it(package):
    done = python(package, "-c", SERVE)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) <= {"none", "hate"}


def test_a_package_may_import_this_one_or_be_imported_first(package):
    code = "import hate_speech, kebyt5.tasks as t; print(t.TASKS['hate'] is hate_speech.Hate)"
    assert python(package, "-c", code).stdout == "True\n"


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("import no_such_module", "cannot be imported: No module named 'no_such_module'"),
        ("Hate = int", "has to be a subclass of Task"),
        (MODULE.replace('name = "hate"', 'name = "ner"'), "its `name` is 'ner'; both have to be"),
        (MODULE.replace("    title", "    heading"), "has no title; define them"),
        (MODULE.replace("input_text", "text"), "has no input_text; define them"),
    ],
)
def test_what_cannot_be_such_a_task_is_refused_and_left_out_of_the_list(package, module, problem):
    (package / "hate_speech.py").write_text(module)
    done = python(package, "-m", "kebyt5", "predict", "tiny", "--task", "hate", "--text", "좋다")
    assert done.returncode == 2
    assert f"task hate (hate_speech:Hate): {problem}" in done.stderr
    done = python(package, "-m", "kebyt5", "tasks")
    assert f"left out: task hate (hate_speech:Hate): {problem}" in done.stderr
    assert "seq2seq" in done.stdout
