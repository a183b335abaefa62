"""A model is in evaluation mode for a while, and then as it was."""

from contextlib import suppress

import pytest
from torch import nn

from kebyt5.models.mode import evaluating


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_mode_is_restored_however_the_block_ends(training, error):
    model = nn.Sequential(nn.Dropout(0.5)).train(training)
    with suppress(RuntimeError, KeyboardInterrupt), evaluating(model):
        assert not model.training
        assert not model[0].training
        if error:
            raise error
    assert model.training == model[0].training == training


def test_a_part_with_a_mode_of_its_own_keeps_it():
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)).train()
    model[0].eval()  # frozen, for example
    with evaluating(model):
        assert not model[1].training
    assert [part.training for part in model] == [False, True]
