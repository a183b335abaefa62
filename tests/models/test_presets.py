"""The named shapes are those of the published checkpoints."""

import pytest
import torch

from kebyt5.models.loading import ARCHITECTURES
from kebyt5.models.presets import PRESETS, preset_config

PARAMETERS = {
    "kebyt5-small": 299_637_760,
    "kebyt5-base": 581_653_248,
    "kebyt5-large": 1_228_183_552,
    "gbst-kebyt5-base": 584_030_977,
    "gbst-kebyt5-large": 1_230_561_281,
}


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_counts(name):
    config = preset_config(name)
    with torch.device("meta"):
        model = ARCHITECTURES[config.model_type](config)
    model.tie_weights()
    parameters = sum(p.numel() for p in model.parameters())
    if name in PARAMETERS:
        assert parameters == PARAMETERS[name]
    assert model.lm_head.weight is not model.shared.weight


def test_blocks_and_downsampling():
    for size in ("base", "large"):
        gbst = preset_config(f"gbst-kebyt5-{size}")
        assert gbst.blocks == ((1, 0), (2, 0), (3, 0), (6, 0), (9, 0))
        assert gbst.downsample_factor == 3
        faster = preset_config(f"faster-gbst-kebyt5-{size}")
        assert faster.blocks == tuple((b, 0) for b in range(1, 10))
        assert faster.downsample_factor == 6


def test_changes_override_the_preset():
    assert preset_config("kebyt5-tiny", dropout_rate=0.0).dropout_rate == 0.0
