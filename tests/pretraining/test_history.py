"""The history of a run."""

import json

import pytest

from kebyt5.errors import InputError
from kebyt5.pretraining.history import History, read_history
from kebyt5.pretraining.plots import plot_history
from kebyt5.pretraining.progress import ShowThroughput


def entries(*steps):
    return [{"step": step, "loss": 1.0 / step, "seconds": step / 10} for step in steps]


def write(path, lines, end=""):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + end)


def test_a_history_goes_on_behind_the_checkpoint(tmp_path):
    path = tmp_path / "history.jsonl"
    validation = {"step": 2, "bits_per_byte": {"all": 3.0}, "seconds": 0.25}
    write(path, [*entries(1, 2), validation, *entries(3, 4)], end='{"step": 5, "lo')
    history = History(path, 2)
    assert history.seconds == 0.25
    history.add(step=3, loss=0.5, seconds=0.4)
    assert list(read_history(path)) == [
        *entries(1, 2),
        validation,
        {"step": 3, "loss": 0.5, "seconds": 0.4},
    ]
    History(path, 0)
    assert path.read_text() == ""


@pytest.mark.parametrize("line", ['{"loss": 1}', "5", "[]", "\udcff"])
def test_a_damaged_line_ends_a_history(tmp_path, line):
    write(tmp_path / "history.jsonl", entries(1, 2))
    with open(tmp_path / "history.jsonl", "a", errors="surrogateescape") as file:
        file.write(f"{line}\n")
    assert list(read_history(tmp_path / "history.jsonl")) == entries(1, 2)


@pytest.mark.parametrize("steps", [(), (1,), (1, 3), (1, 1, 2), (2, 1)])
def test_a_history_with_a_gap_is_refused(tmp_path, steps):
    write(tmp_path / "history.jsonl", entries(*steps))
    with pytest.raises(
        InputError,
        match="every step up to the checkpoint's 3; restore the file, remove checkpoint-3",
    ):
        History(tmp_path / "history.jsonl", 3)


def test_a_picture_of_any_history(tmp_path):
    for history in (
        [],
        entries(1),
        [*entries(*range(1, 300)), {"step": 299, "bits_per_byte": {"a": 2.0, "all": 2.5}}],
    ):
        plot_history(history, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
        assert len(list(tmp_path.iterdir())) == 1


def test_progress_says_how_fast_and_how_long():
    progress = ShowThroughput(bytes_per_step=1e6, flops_per_step=4e12, peak=10e12)
    progress.loss, progress.seconds_per_step = 2.5, 2.0
    assert progress.describe(100) == "loss 2.500  500.0 kB/s  MFU 20%  0:03:20 left"
