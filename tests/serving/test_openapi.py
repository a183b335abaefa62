"""schemathesis finds no mismatch between the server and its OpenAPI description."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.servers import running

SETTINGS = Path(__file__).with_name("schemathesis.toml")


def check(folder, examples):
    options = ("--deadline", 5, "--no-playground")
    with running(folder, *options) as server:
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", SETTINGS,
            "run", f"{server.url}/openapi.json", "--max-examples", examples, "--seed", 1,
        ]  # fmt: skip
        process = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert process.returncode == 0, process.stdout[-5000:]
        assert not [line for line in server.log() if line["level"] == "error"]


def test_every_route_keeps_to_its_description(tmp_path):
    check(tmp_path, examples=2)


@pytest.mark.slow
def test_every_route_keeps_to_its_description_for_long(tmp_path):
    check(tmp_path, examples=100)
