"""Learning rates over a run."""

import math

import pytest

from kebyt5.training.schedule import constant, cosine_cycles, inverse_square_root


def test_schedule_starts_each_cycle_at_a_lower_peak_and_ends_at_the_floor():
    rates = [cosine_cycles(step, 100, 4, 0.7, 1e-3) for step in range(101)]
    peaks = [rates[step] for step in (0, 25, 50, 75)]
    assert peaks == pytest.approx([1, 0.7, 0.49, 0.343])
    assert rates[100] == pytest.approx(1e-3)
    half_way = 1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * 12 / 25)) / 2
    assert rates[12] == pytest.approx(half_way)
    for cycle in range(4):
        falling = rates[25 * cycle : 25 * cycle + 25]
        assert falling == sorted(falling, reverse=True)


def test_warmup_grows_to_the_first_peak():
    rates = [cosine_cycles(step, 20, 1, 1.0, 0.0, warmup=4) for step in range(5)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_warmup_leads_to_the_peak():
    for schedule in (constant, inverse_square_root):
        rates = [schedule(step, warmup=4) for step in range(6)]
        assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert constant(1000, warmup=4) == constant(0) == 1


def test_inverse_square_root_halves_as_steps_are_four_times_as_many():
    assert inverse_square_root(399, warmup=99) == pytest.approx(0.5)
    assert inverse_square_root(0) == 1
    assert inverse_square_root(99) == pytest.approx(0.1)
