"""Cases that do not fit in memory are found without running them."""

import pytest
import torch

from kebyt5.bench import memory, speed
from kebyt5.bench.memory import available_memory, rehearse
from kebyt5.bench.speed import Case, Speed, memory_needed, misfits

MIB = 2**20


def bytes_of(make_case):
    tensors = rehearse(make_case) - rehearse(lambda: lambda: None)
    return tensors / (1 + memory.UNUSED_SHARE)


def test_the_most_that_is_alive_at_once_counts():
    def case():
        first = torch.zeros(MIB // 4)
        second = first + 1
        del first
        return second * 2

    assert round(bytes_of(lambda: case) / MIB, 2) == 2


def test_views_and_changes_in_place_take_nothing():
    def case():
        return torch.zeros(MIB // 4).view(-1, 2).t().add_(1)

    assert round(bytes_of(lambda: case) / MIB, 2) == 1


def test_what_a_case_holds_counts_and_what_its_making_needed_does_not():
    def make_case():
        kept = torch.zeros(MIB // 4) + torch.zeros(MIB // 4)
        return lambda: kept.add_(1)

    assert round(bytes_of(make_case) / MIB, 2) == 1


def test_lengths_and_masks_have_values():
    def case():
        mask = torch.ones(4, 100, dtype=torch.long)
        mask[1, 50:] = 0
        lengths = mask.sum(dim=1).tolist()
        assert lengths == [100, 50, 100, 100]
        return torch.zeros(max(lengths), 2621)

    assert round(bytes_of(lambda: case) / MIB, 1) == 1.0


def test_nothing_is_allocated(monkeypatch):
    huge = 2**50
    assert rehearse(lambda: lambda: torch.zeros(huge)) > 4 * huge


@pytest.mark.slow
def test_attention_scores_make_training_quadratic_in_the_length():
    def needed(length):
        return memory_needed("train", "transformers-eager", Case("tiny", 1, length, 128), 0.0)

    first, second, third = (needed(length) for length in (1024, 2048, 3072))
    scores_of_a_layer = 4 * 4 * 1024**2
    curvature = (third - second) - (second - first)
    assert curvature > 2 * 6 * scores_of_a_layer


def test_smaller_cases_than_one_that_fits_are_not_rehearsed(monkeypatch):
    rehearsed = []

    def needed(measure, name, case, dropout):
        rehearsed.append((case.batch_size, case.length))
        return case.batch_size * case.length

    monkeypatch.setattr(speed, "memory_needed", needed)
    cases = [Case("base", batch, length, 8) for batch in (1, 4) for length in (10, 20, 40)]
    too_large = misfits(Speed("train", rounds=1), "kebyt5", cases, room=80)
    assert too_large == {Case("base", 4, 40, 8): 160}
    assert rehearsed == [(4, 40), (4, 20), (1, 40)]


@pytest.mark.slow
def test_weights_and_gradients_are_part_of_a_step():
    parameters = 4 * 581_653_248
    step = memory_needed("train", "kebyt5", Case("base", 1, 16, 8), 0.0)
    encode = memory_needed("encode", "kebyt5", Case("base", 1, 16, 8), 0.0)
    assert step > 2 * parameters
    assert 2 * parameters > encode > parameters


def test_the_room_is_what_the_tighter_account_leaves(tmp_path, monkeypatch):
    assert 0 < available_memory() < 2**62
    (tmp_path / "memory.max").write_text(f"{100 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{40 * MIB}\n")
    assert memory._room_in_control_group(tmp_path) == 60 * MIB
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._room_in_control_group(tmp_path) >= 2**62
    assert memory._room_in_control_group(tmp_path / "none") >= 2**62
