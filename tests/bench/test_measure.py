"""Rounds are interleaved, ratios are taken round by round, fresh processes report or fail."""

import sys

import pytest

from kebyt5.bench.measure import (
    FreshProcessError,
    in_fresh_process,
    interleave,
    interleave_parts,
    keep_freed_memory,
    memory_of,
    peak_memory_of,
    ratio,
    resident_memory,
)

MIB = 2**20


def test_cases_take_turns_and_the_first_round_does_not_count():
    order = []

    def case(name):
        order.append(name)
        return {"part": float(len(order))}

    seconds = interleave_parts({"a": lambda: case("a"), "b": lambda: case("b")}, rounds=2)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": {"part": [3.0, 5.0]}, "b": {"part": [4.0, 6.0]}}


def test_each_run_is_announced():
    told = []
    interleave_parts({"a": lambda: {}, "b": lambda: {}}, 1, told.append)
    assert told == ["a", "b"] * 2


def test_whole_cases_are_timed():
    seconds = interleave({"nothing": lambda: None, "sum": lambda: sum(range(1000))}, rounds=3)
    assert {name: len(values) for name, values in seconds.items()} == {"nothing": 3, "sum": 3}
    assert all(value > 0 for value in seconds["sum"])


def test_ratios_are_of_the_same_round():
    assert ratio([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == (3.0, 2.0, 4.0)
    assert str(ratio([3.0], [1.0])) == "3 (3 to 3)"


def test_peak_memory_is_what_was_held_not_what_is():
    def case():
        block = bytearray(64 * MIB)
        for start in range(0, len(block), 4096):
            block[start] = 1

    assert 60 * MIB < memory_of(case) < 100 * MIB
    assert peak_memory_of(case) > 60 * MIB
    assert resident_memory() < peak_memory_of(case)


def test_a_fresh_process_returns_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "reports.py").write_text(
        "import sys, json\nprint('hm')\nprint(json.dumps(sys.argv[1:]))"
    )
    assert in_fresh_process("reports", "a", "1") == ["a", "1"]


@pytest.mark.parametrize(
    ("line", "was_killed"),
    [("raise ValueError('no luck')", False), ("import os; os.kill(os.getpid(), 9)", True)],
)
def test_a_fresh_process_that_fails_says_how(tmp_path, monkeypatch, line, was_killed):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "fails.py").write_text(line)
    with pytest.raises(FreshProcessError) as caught:
        in_fresh_process("fails")
    assert caught.value.was_killed == was_killed
    assert was_killed or "no luck" in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_memory_can_be_kept():
    assert keep_freed_memory() in (True, False)
