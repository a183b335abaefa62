"""What a pretraining run shows."""

from types import SimpleNamespace

import pytest

from kebyt5.pretraining.progress import ShowThroughput


@pytest.mark.parametrize("is_first", [True, False])
def test_a_validation_is_a_line_of_the_first_process(capsys, is_first):
    state = SimpleNamespace(global_step=3, is_world_process_zero=is_first)
    ShowThroughput(1, 1, 1).on_evaluate(None, state, None, metrics={"all": 1.23456, "film": 2.0})
    line = "step 3: 1.2346 bits per byte\n"
    assert capsys.readouterr() == ("", line if is_first else "")
