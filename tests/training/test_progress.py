"""A run shows how long its steps take with all that they wait for, and leaves no bar behind."""

from types import SimpleNamespace

import pytest

from kebyt5.training import progress
from kebyt5.training.progress import ShowProgress


@pytest.fixture
def shown(monkeypatch):
    """A display, the state of its run, and a clock."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock.now)
    state = SimpleNamespace(global_step=0, max_steps=100, is_world_process_zero=True)
    display = ShowProgress("Running")
    display.on_train_begin(None, state, None)
    yield display, state, clock
    display.stop()


def test_a_step_takes_from_one_log_to_the_next(shown):
    display, state, clock = shown
    for step, now in ((1, 2.0), (2, 4.0), (12, 24.0)):  # batches and devices included
        state.global_step, clock.now = step, now
        display.on_log(None, state, None, {"loss": 1.5})
    assert display.seconds_per_step == pytest.approx(2)
    assert display.describe(100 - 12) == "loss 1.500  0:02:56 left"


@pytest.mark.parametrize("pause", ["on_evaluate", "on_save"])
def test_validation_and_checkpoints_do_not_count(shown, pause):
    display, state, clock = shown
    state.global_step, clock.now = 1, 1.0
    display.on_log(None, state, None, {"loss": 1.5})
    clock.now = 500.0
    getattr(display, pause)(None, state, None)
    state.global_step, clock.now = 2, 501.0
    display.on_log(None, state, None, {"loss": 1.5})
    assert display.seconds_per_step == pytest.approx(1)
