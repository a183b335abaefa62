"""Rounds are interleaved, ratios are taken round by round, fresh processes report or fail."""

import os
import platform
import sys

import pytest

from kebyt5.bench.measure import (
    FreshProcessError,
    in_fresh_process,
    interleave,
    interleave_parts,
    ratio,
)
from kebyt5.bench.speed import run_alone

MIB = 2**20


def test_cases_take_turns_and_the_first_round_does_not_count():
    order = []

    def case(name):
        order.append(name)
        return {"part": float(len(order))}

    seconds = interleave_parts({"a": lambda: case("a"), "b": lambda: case("b")}, rounds=2)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": {"part": [3.0, 5.0]}, "b": {"part": [4.0, 6.0]}}


def test_the_first_round_counts_where_the_cases_have_run_before():
    order = []
    seconds = interleave({"a": lambda: order.append("a")}, rounds=2, warm_up=False)
    assert order == ["a"] * 2
    assert len(seconds["a"]) == 2


def test_each_run_is_announced():
    told = []
    interleave_parts({"a": lambda: {}, "b": lambda: {}}, 1, told.append)
    interleave({"c": lambda: None}, 1, told.append)
    assert told == ["a", "b"] * 2 + ["c"] * 2


def test_whole_cases_are_timed():
    seconds = interleave({"nothing": lambda: None, "sum": lambda: sum(range(1000))}, rounds=3)
    assert {name: len(values) for name, values in seconds.items()} == {"nothing": 3, "sum": 3}
    assert all(value > 0 for value in seconds["sum"])


def test_ratios_are_of_the_same_round():
    assert ratio([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == (3.0, 2.0, 4.0)
    assert str(ratio([3.0], [1.0])) == "3 (3 to 3)"


PEAK = """
import json
from kebyt5.bench.measure import memory_of, peak_memory_of, resident_memory

def case():
    block = bytearray(64 * 2**20)
    for start in range(0, len(block), 4096):
        block[start] = 1

print(json.dumps([memory_of(case), peak_memory_of(case), resident_memory()]))
"""


@pytest.fixture
def write_module(tmp_path, monkeypatch, lazy_imports):
    """Writes a module that a fresh process finds."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    return lambda name, text: (tmp_path / f"{name}.py").write_text(text)


def test_peak_memory_is_what_was_held_not_what_is(write_module):
    write_module("peak", PEAK)
    more, peak, after = in_fresh_process("peak")
    assert 60 * MIB < more < 80 * MIB
    assert peak > after + 60 * MIB


def test_a_fresh_process_returns_its_last_line(write_module):
    write_module("reports", "import sys, json\nprint('hm')\nprint(json.dumps(sys.argv[1:]))")
    assert in_fresh_process("reports", "a", "1") == ["a", "1"]


@pytest.mark.parametrize(
    ("line", "was_killed"),
    [("raise ValueError('no luck')", False), ("import os; os.kill(os.getpid(), 9)", True)],
)
def test_a_fresh_process_that_fails_says_how(write_module, line, was_killed):
    write_module("fails", line)
    with pytest.raises(FreshProcessError) as caught:
        in_fresh_process("fails")
    assert caught.value.was_killed == was_killed
    assert was_killed or "no luck" in str(caught.value)


def test_freed_memory_can_be_returned(write_module):
    write_module(
        "returned",
        """
import json
from kebyt5.process import keep_memory
from kebyt5.bench.measure import resident_memory, return_freed_memory

keep_memory()
block = bytearray(64 * 2**20)
for start in range(0, len(block), 4096):
    block[start] = 1
pinned = bytearray(2**20)
held = resident_memory()
del block
return_freed_memory()
print(json.dumps([held, resident_memory()]))
""",
    )
    held, after = in_fresh_process("returned")
    if platform.libc_ver()[0] == "glibc":
        assert after < held - 50 * MIB


def test_a_fresh_process_is_set_up_before_it_loads_anything(monkeypatch):
    class SetUp(Exception):
        pass

    def set_up():
        raise SetUp

    monkeypatch.setattr("kebyt5.bench.speed.prepare_process", set_up)
    with pytest.raises(SetUp):
        run_alone(["train", "kebyt5-gbst", "tiny", "nowhere", "1", "8", "4", "0"])
