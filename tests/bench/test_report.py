"""What the pages of all benchmarks share."""

from types import SimpleNamespace

import pytest

from kebyt5.bench import report
from kebyt5.bench.report import made_with, table


def test_tables_are_markdown():
    assert table(["a", "b"], [["1", "2"]]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


@pytest.mark.parametrize(
    ("library", "kernels"),
    [(None, "no kernels"), (SimpleNamespace(_name="/a/kernels-avx2.so"), "kernels-avx2")],
)
def test_results_say_which_kernels_computed_them(library, kernels, monkeypatch):
    monkeypatch.setattr(report, "library", lambda: library)
    assert f" cores, {kernels}, kebyt5 " in made_with()
