"""Tasks of other packages are known wherever those of this one are."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from kebyt5 import tasks
from kebyt5.errors import InputError
from kebyt5.tasks import TASKS, get_task
from kebyt5.tasks.ner import NER

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

USE = """
import json
from fastapi.testclient import TestClient
from kebyt5.cli import main
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
main()  # which ends the process
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


def test_commands_server_and_playground_know_it(package, tmp_path):
    assert "Hate speech" in python(package, "-m", "kebyt5", "tasks").stdout
    data = tmp_path / "data.tsv"
    data.write_text("comment\tlabel\n좋다\tnone\n나가라\t1\n")
    asked = ("--task", "hate", "--data", data, "--output", tmp_path / "scores")
    done = python(package, "-c", USE, "evaluate", "tiny", *asked)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["task"] == "hate"
    assert set(json.loads(done.stdout.splitlines()[0])) <= {"none", "hate"}


@pytest.mark.slow
def test_a_package_may_import_this_one_or_be_imported_first(package):
    code = "import hate_speech, kebyt5.tasks as t; print(t.TASKS['hate'] is hate_speech.Hate)"
    assert python(package, "-c", code).stdout == "True\n"


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Declares the task of a module in this process."""

    def declare(module):
        (tmp_path / "hate_speech.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        found = [EntryPoint("hate", "hate_speech:Hate", tasks.ENTRY_POINTS)]
        monkeypatch.setattr(tasks, "entry_points", lambda group: found)
        forget()

    def forget():
        sys.modules.pop("hate_speech", None)
        tasks._declared.cache_clear()
        tasks._usable.cache_clear()

    yield declare
    forget()


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("import no_such_module", "cannot be imported: No module named 'no_such_module'"),
        ("Hate = int", "has to be a subclass of Task"),
        (MODULE.replace('name = "hate"', 'name = "ner"'), "its `name` is 'ner'; both have to be"),
        (MODULE.replace("    title", "    heading"), "has no title; define them"),
        (MODULE.replace("input_text", "text"), "has no input_text; define them"),
        (MODULE.replace("    labels", "    classes"), "has no labels; define them"),
    ],
)
def test_what_cannot_be_such_a_task_is_refused_and_left_out_of_the_list(declare, module, problem):
    declare(module)
    said = re.escape(f"task hate (hate_speech:Hate): {problem}")
    with pytest.raises(InputError, match=f"^{said}"):
        get_task("hate")
    with pytest.warns(UserWarning, match=f"^left out: {said}"):
        assert "hate" not in list(TASKS)
    with pytest.raises(InputError, match="unknown task 'hat', did you mean"):
        get_task("hat")


def test_it_is_listed_last_and_has_no_name_of_ours(declare, monkeypatch):
    declare(MODULE)
    assert list(TASKS)[-1] == "hate"
    assert len(TASKS) == len(list(TASKS))
    ours = EntryPoint("ner", "hate_speech:Hate", tasks.ENTRY_POINTS)
    monkeypatch.setattr(tasks, "entry_points", lambda group: [ours])
    tasks._declared.cache_clear()
    assert type(get_task("ner")) is NER
