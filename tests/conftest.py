"""Fixtures for all tests."""

import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings
from transformers import T5Config

from kebyt5 import (
    GBSWT5Config,
    GBSWT5ForConditionalGeneration,
    KEByT5ForConditionalGeneration,
    output,
)
from kebyt5.cli import app, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A time limit for one example fails by chance on a busy machine.
settings.register_profile("kebyt5", deadline=None)
settings.load_profile("kebyt5")

PROJECT = Path(__file__).resolve().parents[1]


LONG = ("serving/test_ray_serve", "corpus/test_executors", "pretraining/test_pretrain",
        "finetuning/test_finetune", "test_hatch_build", "bench/test_quality")  # fmt: skip
"""Modules that take minutes: they begin first, so that no worker ends long after the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the modules that take minutes first."""
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(f"tests/{each}" for each in LONG)))


def pytest_collection_finish() -> None:
    """Keeps what is imported out of garbage collection, which takes a second with it."""
    gc.collect()
    gc.freeze()


def shared_folder(folder: Path, what: str) -> Path:
    """The folder; its tests are skipped where it is missing, except in CI."""
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"no {what} at {folder}")
        pytest.skip(f"no {what} at {folder}")
    return folder


@pytest.fixture(scope="session")
def klue_data() -> Path:
    """The folder of the real data, from the environment variable KEBYT5_DATA."""
    default = PROJECT.parent / "shared" / "data"
    return shared_folder(Path(os.environ.get("KEBYT5_DATA") or default), "real data (KEBYT5_DATA)")


@pytest.fixture(
    scope="session",
    params=["ds1_1-2-3-4_noconsensus", "ds2_max4", "ds3_1-2-3-6-9", "ds6_1to9"],
)
def golden_folder(request: pytest.FixtureRequest) -> Path:
    """A checkpoint with outputs of the published implementation."""
    return shared_folder(PROJECT.parent / "shared" / "golden" / request.param, "golden vectors")


@pytest.fixture
def lazy_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """New interpreters import kebyt5 as those of the command line do: its parts when needed."""
    monkeypatch.setenv("KEBYT5_COMMAND", "1")


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> Callable[["Figure"], bytes]:
    """Leaves the figures of runs empty, since each takes a second; plots have tests of their own.

    Returns what draws them.
    """
    png = output.png
    monkeypatch.setattr(output, "png", lambda figure: b"")
    return png


@pytest.fixture
def real_figures(
    blank_figures: Callable[["Figure"], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws the figures of runs in a module that leaves them empty."""
    monkeypatch.setattr(output, "png", blank_figures)


TINY = {
    "vocab_size": 384,
    "d_model": 32,
    "d_ff": 48,
    "d_kv": 8,
    "num_heads": 4,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}
GBST = {"subword_blocks": [1, 2, 3, 6, 9], "downsample_factor": 3}


@pytest.fixture
def tiny_model() -> Callable[..., KEByT5ForConditionalGeneration]:
    """Makes a small random model, with GBST or plain; arguments change its configuration."""

    def make(gbst: bool = True, **changes: object) -> KEByT5ForConditionalGeneration:
        torch.manual_seed(0)
        if not gbst:
            return KEByT5ForConditionalGeneration(T5Config(**(TINY | changes))).eval()
        config = GBSWT5Config(**(TINY | GBST | changes))
        return GBSWT5ForConditionalGeneration(config).eval()

    return make


SAMPLE = PROJECT / "src" / "kebyt5" / "assets" / "sample_ner"


def head_of_sample(name: str, sentences: int, path: Path) -> Path:
    """Writes the first sentences of the shipped sample data to a file of their own."""
    blocks = (SAMPLE / name).read_text(encoding="utf-8").split("\n\n")
    path.write_text("\n\n".join(blocks[:sentences]) + "\n\n", encoding="utf-8")
    return path


@pytest.fixture
def train_file(tmp_path: Path) -> Path:
    """Twenty-four sentences in the KLUE-NER format."""
    return head_of_sample("train.tsv", 24, tmp_path / "train.tsv")


@pytest.fixture
def dev_file(tmp_path: Path) -> Path:
    """Six sentences in the KLUE-NER format."""
    return head_of_sample("dev.tsv", 6, tmp_path / "dev.tsv")


@pytest.fixture
def checkpoint(tiny_model: Callable[..., KEByT5ForConditionalGeneration], tmp_path: Path) -> Path:
    """A folder with a small random GBST checkpoint."""
    tiny_model().save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line; returns exit code, stdout and stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["kebyt5", *map(str, arguments)])
        app.config = ()
        capsys.readouterr()
        threads = torch.get_num_threads()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            # As other tests expect of their process.
            logging.getLogger("kebyt5.serving").setLevel(logging.NOTSET)
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command
