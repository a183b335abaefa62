"""The playground starts, or says in one line why it cannot."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial

from kebyt5.errors import InputError
from kebyt5.process import KERNEL_CACHES


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_serves_the_page_until_it_is_interrupted(checkpoint):
    port = free_port()
    command = [sys.executable, "-m", "kebyt5", "playground", str(checkpoint), "--port", str(port)]
    # As at a terminal: a shell in the background has its processes ignore the signal.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed
    )
    try:
        said = f"http://127.0.0.1:{port} shows the playground; Ctrl-C ends it.\n"
        assert process.stdout.readline() == said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}") as page:
            assert "kebyt5" in page.read().decode()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "")  # no logs either


def test_a_port_that_is_taken(run, checkpoint):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, error = run("playground", checkpoint, "--port", port)
    assert code == 2
    assert f"--port {port}: cannot listen there" in error
    assert error.count("\n") == 1


def test_a_port_that_is_none(run):
    code, _, error = run("playground", "--port", 70_000)
    assert code == 2
    assert error.startswith("error: ")
    assert "70000" in error
    assert "--port" in error


def test_checkpoints_have_names_and_share_what_is_equal(run, checkpoint, monkeypatch):
    for name in KERNEL_CACHES:
        monkeypatch.setenv(name, "")  # so that it is put back at the end
        monkeypatch.delenv(name)
    shown = {}

    def build(services):
        shown.update(services)
        raise InputError("seen")

    monkeypatch.setattr("kebyt5.serving.playground.build", build)
    code, _, error = run("playground", f"one={checkpoint}", f"two={checkpoint}", "--port", 0)
    assert (code, error) == (2, "error: seen\n")
    one, two = (shown[name].model.shared.weight for name in ("one", "two"))
    assert one.data_ptr() == two.data_ptr()
    assert all(int(os.environ[name]) < 100 for name in KERNEL_CACHES)


def test_two_checkpoints_of_one_name(run, checkpoint):
    code, _, error = run("playground", checkpoint, f"{checkpoint.name}=tiny")
    assert code == 2
    assert f"the name {checkpoint.name} is taken" in error


def test_no_such_checkpoint(run, tmp_path):
    code, _, error = run("playground", tmp_path / "nothing", "--port", 0)
    assert code == 2
    assert "no such folder" in error


def test_without_its_extra(run, checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, error = run("playground", checkpoint)
    assert code == 2
    assert "pip install 'kebyt5[serve]'" in error
