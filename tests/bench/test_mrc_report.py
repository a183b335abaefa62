"""The page says what was measured, and what does not fit in memory."""

import re

from kebyt5.bench.mrc import Efficiency, Texts
from kebyt5.bench.mrc_report import report_mrc
from kebyt5.bench.report import GIB
from kebyt5.bench.workload import random_batch
from tests.bench.pages import row


def test_the_efficiency_table_has_the_layout_of_the_card():
    texts = Texts("Some texts", [random_batch(1, 30, 5)] * 4)
    measured = Efficiency(
        texts,
        {
            "kebyt5": {"training": [8.0, 8.0], "inference": [4.0, 4.0]},
            "kebyt5-gbst": {"training": [2.0, 4.0], "inference": [2.0, 2.0]},
        },
        {},
    )
    partly = Efficiency(
        texts, {"kebyt5-gbst": {"training": [2.0], "inference": [1.0]}}, {"kebyt5": 30 * GIB}
    )
    first, second = re.split("## Some texts", report_mrc("base", [measured, partly], 2))[1:]
    assert row(first, "")[1:] == ["training, samples/s", "inference, samples/s"]
    assert row(first, "kebyt5, plain")[1:] == ["0.5000", "1.0000"]
    assert row(first, "kebyt5, GBST")[1:] == ["1.3333", "2.0000"]
    assert row(first, r"**times (range)**")[1:] == ["3 (2 to 4)", "2 (2 to 2)"]
    assert row(first, "times, published (A100)")[1:] == ["2.74", "1.46"]
    assert row(second, "kebyt5, plain")[1] == "does not fit: 30.0 GiB"
    assert row(second, r"**times (range)**")[1:] == ["", ""]
