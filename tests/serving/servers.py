"""Servers for tests, in this process or in their own."""

import codecs
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient
from transformers import PreTrainedModel

from kebyt5 import ByteTokenizer
from kebyt5.serving.app import create_app
from kebyt5.serving.options import ServeOptions
from kebyt5.serving.service import LocalService
from tests.processes import command, program

SENTENCES = (
    "김하늘 씨는 서울에서 부산까지 갔다.",
    "오늘 국회에서 예산안이 통과되었다고 한국일보가 전했다.",
    "2023년 5월 1일, 한강공원에서 열린 축제에 3만 명이 모였다.",
)
LONG = " ".join(SENTENCES * 4)
"""A text of which the shipped model writes a copy for a while."""


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of one to eight sentences."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(SENTENCES, k=rng.choice([1, 1, 2, 3, 8]))) for _ in range(count)]


def plain_greedy(model: PreTrainedModel, inputs: list[str], limit: int) -> list[str]:
    """Plain greedy generation by Transformers, of all texts together."""
    encoded = ByteTokenizer()(inputs, padding=True, return_tensors="pt")
    rows = model.generate(**encoded, max_new_tokens=limit, do_sample=False)[:, 1:].tolist()
    return [_text_of(ids[: ids.index(1) + 1] if 1 in ids else ids) for ids in rows]


def _text_of(ids: list[int]) -> str:
    """The text of ids, without half a character at the limit; elsewhere it stands as U+FFFD."""
    data = bytes(i - 3 for i in ids if i >= 3)
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data, ids[-1] == 1)


@contextmanager
def served(model: PreTrainedModel, **options: Any) -> Iterator[TestClient]:
    """A client of a server in this process."""
    settings = ServeOptions(**options)
    services = {"tiny": LocalService("tiny", model, settings)}
    with TestClient(
        create_app(services, settings, settings.read_api_keys()), raise_server_exceptions=False
    ) as client:
        yield client


class Server:
    """`kebyt5 serve` in a separate process."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / f"serve-{self.port}.log"
        start = program if "--ray" in arguments else command
        self.process = start("serve", "--port", self.port, *arguments, log=self.log_file)
        self.wait_for(self._is_ready)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds; fails after a generous timeout."""
        give_up = time.monotonic() + 300
        while not condition():
            assert self.process.poll() is None, self.log_file.read_text()[-2000:]
            assert time.monotonic() < give_up, self.log_file.read_text()[-2000:]
            time.sleep(0.05)

    def metric(self, sample: str) -> float:
        """The value of a sample at /metrics; 0 if there is none."""
        lines = httpx2.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(sample))

    def log(self) -> list[dict[str, Any]]:
        """The server's log."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except httpx2.TransportError:
            return False


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Server]:
    """Runs a server for the duration of the block."""
    server = Server(folder, *arguments)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
