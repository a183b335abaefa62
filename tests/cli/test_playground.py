"""The playground starts, and says in one line why where it does not."""

import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial

import kebyt5
import kebyt5.serving


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
        said = next(line for line in process.stdout if "Ctrl-C" in line)
        assert f"http://127.0.0.1:{port}" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}") as page:
            assert "kebyt5" in page.read().decode()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "Traceback" not in output


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
    assert error == "error: --port 70000: from 0, for any, to 65535\n"


def test_no_such_checkpoint(run, tmp_path):
    code, _, error = run("playground", tmp_path / "nothing")
    assert code == 2
    assert "no such folder" in error


def test_without_its_extra(run, checkpoint, monkeypatch):
    # Modules come back after this test, and so has their package.
    monkeypatch.setattr(kebyt5, "serving", kebyt5.serving)
    for module in [m for m in sys.modules if m.startswith("kebyt5.serving")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, error = run("playground", checkpoint)
    assert code == 2
    assert "pip install 'kebyt5[serve]'" in error
