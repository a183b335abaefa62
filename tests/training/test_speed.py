"""How fast a device multiplies."""

import pytest
import torch

from kebyt5.training import speed
from kebyt5.training.speed import measured_peak, warn_of_slow_bfloat16


def test_the_peak_is_measured():
    assert measured_peak(torch.device("cpu"), torch.float32) > 1e8


def test_an_emulated_type_does_not_take_long_to_measure(monkeypatch):
    sizes = []

    def seconds(a):
        sizes.append(len(a))
        return len(a) ** 3 / 2**28  # 0.06, 0.5 and 4 seconds

    monkeypatch.setattr(speed, "_seconds", seconds)
    assert measured_peak.__wrapped__(torch.device("cpu"), torch.bfloat16) == 2**29
    assert sizes == [256] * 9 + [512] * 2


@pytest.mark.parametrize("bfloat16", [0.5e9, 2e9])
def test_bfloat16_that_is_slower_than_float32_is_told(bfloat16, monkeypatch, caplog):
    peaks = {torch.bfloat16: bfloat16, torch.float32: 1e9}
    monkeypatch.setattr(speed, "measured_peak", lambda device, dtype: peaks[dtype])
    warn_of_slow_bfloat16(torch.device("cpu"))
    assert ("50% of its speed in float32" in caplog.text) == (bfloat16 < 1e9)
