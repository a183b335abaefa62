"""`kebyt5 serve`: errors are one line, before anything is loaded or bound."""

import os
import socket
import subprocess
import sys
from dataclasses import fields

import pytest

from kebyt5.process import KERNEL_CACHES
from kebyt5.serving.options import ServeOptions


@pytest.fixture(autouse=True)
def logs_as_they_are(monkeypatch):
    """Commands run in the process of the tests, whose logging stays."""
    monkeypatch.setattr("kebyt5.serving.logs.configure", lambda: None)


def refused(result, *parts):
    code, _, error = result
    assert code == 2, error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_help_has_every_option(run):
    code, out, _ = run("serve", "--help")
    assert code == 0
    names = [field.name.replace("_", "-") for field in fields(ServeOptions)]
    for name in ("port", "ray", "max-replicas", "no-playground", *names):
        assert f"--{name} " in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["/no/such/folder", "--port", "0"], ["no such folder"]),
        (["a=tiny", "a=tiny"], ["taken by tiny"]),
        (["개체=tiny"], ["cannot be a name"]),
        (["--port", "70000"], ["--port", "70000"]),
        (["--slots", "0"], ["0"]),
        (["--deadline", "inf"], ["--deadline inf", "finite"]),
        (["--slots", "2", "--queue", "2"], ["--max-texts 64", "raise --queue"]),
        (["--api-keys", "/no/such/file"], ["/no/such/file: cannot be read"]),
        (["--ray", "--replicas", "3", "--max-replicas", "2"], ["fewer than --replicas 3"]),
        (["--ray", "--port", "0"], ["--port 0", "name it"]),
        (["--replicas", "3"], ["--replicas", "for --ray"]),
        (["--device", "gpu"], ["--device gpu: not here; PyTorch finds cpu"]),
        (["--ray", "--lame-duck-seconds", "3"], ["--lame-duck-seconds", "not with --ray"]),
    ],
)
def test_mistakes(run, arguments, parts):
    refused(run("serve", *arguments), *parts)


def test_a_port_that_is_taken_is_noticed_before_anything_is_loaded(run, monkeypatch):
    monkeypatch.setattr("kebyt5.serving.registry.load_models", lambda *named: pytest.fail("loaded"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(run("serve", "--port", port), f"--port {port}: cannot listen there")


def test_a_server_keeps_the_kernels_of_a_few_shapes_and_divides_the_cores(run, monkeypatch):
    for name in KERNEL_CACHES:
        monkeypatch.setenv(name, "")  # so that it is put back at the end
        monkeypatch.delenv(name)
    given = {}
    monkeypatch.setattr("kebyt5.serving.server.run", lambda *_, **named: given.update(named))
    monkeypatch.setattr("kebyt5.serving.threads.torch.get_num_threads", lambda: 6)
    code, _, error = run("serve", "a=tiny", "b=tiny", "--port", "0", "--no-playground")
    assert code == 0, error
    assert all(int(os.environ[name]) < 100 for name in KERNEL_CACHES)
    assert given == {"playground": False, "threads": 3}  # threads for each model


@pytest.mark.parametrize(
    ("text", "part"), [("# none\n\n", "no key"), ("a b\n", ":1: a key"), ("x\n키\n", ":2: a key")]
)
def test_files_of_keys(run, tmp_path, text, part):
    keys = tmp_path / "keys.txt"
    keys.write_text(text)
    refused(run("serve", "--api-keys", keys), str(keys), part)


def test_a_server_needs_more_open_files_than_connections(run, monkeypatch):
    monkeypatch.setattr("kebyt5.serving.server.resource.getrlimit", lambda _: (100, 100))
    refused(run("serve", "tiny", "--port", "0", "--no-playground"), "ulimit -n 65536")


def test_without_the_extra_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr("kebyt5.cli.extras.find_spec", lambda name: None)
    refused(run("serve"), "pip install 'kebyt5[serve]'")


@pytest.mark.usefixtures("lazy_imports")
def test_other_commands_do_not_load_the_server():
    code = "import sys, kebyt5.cli; print({'fastapi', 'uvicorn', 'ray'} & sys.modules.keys())"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
