"""What the pages of all benchmarks share."""

from kebyt5.bench.report import table


def test_tables_are_markdown():
    assert table(["a", "b"], [["1", "2"]]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
