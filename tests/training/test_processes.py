from contextlib import suppress

import pytest

from kebyt5.errors import InputError
from kebyt5.training.processes import (
    divide_batch,
    make_run_folder,
    own_folder,
    require_one_device_each,
    this_process,
)


@pytest.mark.parametrize(
    ("batch", "largest", "world", "expected"),
    [(16, 16, 1, (16, 1)), (16, 4, 1, (4, 4)), (16, 16, 2, (8, 1)), (12, 5, 1, (4, 3))],
)
def test_batches_are_divided_among_devices(batch, largest, world, expected):
    assert divide_batch(batch, largest, world) == expected
    with pytest.raises(InputError, match=f"--batch-size {batch}: not a multiple of 7 devices"):
        divide_batch(batch, largest, 7)


def test_one_process_where_several_were_asked_for_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")  # as `accelerate launch` does for one
    assert this_process().num_processes == 1
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # and for several it leaves to MPI
    with pytest.raises(InputError, match="asked for several processes, but has started one; give"):
        this_process()


def test_one_process_with_several_gpus_is_refused(monkeypatch):
    require_one_device_each()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    with pytest.raises(InputError, match="4 GPUs, but one process; use accelerate launch"):
        require_one_device_each()


def test_a_folder_with_a_stopped_run_is_not_to_be_emptied(tmp_path):
    runs = [tmp_path / "one", tmp_path / "several"]
    (runs[0] / "checkpoint-2").mkdir(parents=True)
    (runs[1] / "seed-0" / "checkpoint-2").mkdir(parents=True)
    for run in runs:
        with pytest.raises(InputError, match="training run that was stopped; --resume continues"):
            make_run_folder(run, may_continue=False)
        (run / "metrics.json").touch()
        with pytest.raises(InputError, match="name another one or empty it"):
            make_run_folder(run, may_continue=False)
    make_run_folder(runs[0], may_continue=True)


def test_an_interrupted_run_says_how_it_goes_on(tmp_path, caplog):
    caplog.set_level("INFO", "kebyt5")
    for written, said in (("other", []), ("checkpoint-2", ["--resume continues"])):
        run = tmp_path / written
        with suppress(KeyboardInterrupt), own_folder(run, may_continue=False):
            (run / written).mkdir()
            raise KeyboardInterrupt
        assert [record.message.removeprefix(f"{run}: ")[:18] for record in caplog.records] == said
