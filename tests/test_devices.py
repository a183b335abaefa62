"""Devices are found by name, or refused with the names of those that are here."""

import pytest
import torch

import kebyt5
from kebyt5.devices import move, require_device
from kebyt5.errors import InputError


def test_the_processor_is_always_here():
    assert require_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta"])
def test_what_is_not_here_is_refused_with_what_is(name):
    with pytest.raises(InputError, match=f"--device {name}: not here; PyTorch finds cpu"):
        require_device(name)


def test_accelerators_are_here_by_kind_and_number(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert require_device("cuda") == torch.device("cuda")
    assert require_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="cuda:2: not here; PyTorch finds cpu, cuda, cuda:0, cuda"):
        require_device("cuda:2")


def test_models_move(checkpoint):
    meta = torch.device("meta")  # is everywhere
    assert move(kebyt5.load(checkpoint), meta).device == meta


def test_int8_stays_on_the_processor(checkpoint):
    model = kebyt5.load(checkpoint)
    model.config.int8 = True
    assert move(model, torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(InputError, match="are int8, which is for CPUs; give the checkpoint"):
        move(model, torch.device("cuda"))
