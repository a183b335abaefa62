"""Freezing, schedule, order and batches of a fine-tuning run."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.finetuning.data import LengthGroupedSampler, TaskDataset, collate
from kebyt5.finetuning.freezing import freeze
from kebyt5.pretraining.schedule import cosine_cycles
from kebyt5.tasks import get_task

# The list on the published model card, with `embeds.weight`, and the loop beside it.
MODEL_CARD_LIST = [
    "encoder.embed_tokens.embeds.weight",
    "encoder.embed_tokens.positional_convol.2.convol.weight",
    "encoder.embed_tokens.positional_convol.2.convol.bias",
    "encoder.embed_tokens.positional_convol.2.proj.weight",
    "encoder.embed_tokens.positional_convol.2.proj.bias",
    "encoder.embed_tokens.cand_scoring.0.weight",
    "encoder.embed_tokens.cand_scoring.0.bias",
]


def frozen(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_freezing_gbst_is_what_the_loop_of_the_model_card_does(tiny_model):
    by_card = tiny_model()
    for name, parameter in by_card.named_parameters():
        if name in MODEL_CARD_LIST:
            parameter.requires_grad = False
    ours = tiny_model()
    names = freeze(ours, "gbst")
    assert frozen(ours) == frozen(by_card) == set(names) == set(MODEL_CARD_LIST[1:])


@pytest.mark.parametrize(("what", "moves"), [("gbst", True), ("gbst+embedding", False)])
def test_a_step_moves_the_shared_embedding_unless_it_is_frozen_too(tiny_model, what, moves):
    model = tiny_model().train()
    names = freeze(model, what)
    before = {name: p.clone() for name, p in model.named_parameters()}
    ids = torch.randint(3, 259, (2, 20))
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    parameters = dict(model.named_parameters())
    assert all(torch.equal(parameters[name], before[name]) for name in names)
    assert torch.equal(parameters["shared.weight"], before["shared.weight"]) != moves
    assert not torch.equal(parameters["lm_head.weight"], before["lm_head.weight"])


def test_nothing_is_frozen_unless_asked(tiny_model):
    model = tiny_model()
    assert freeze(model, "none") == []
    assert not frozen(model)


def test_schedule_starts_each_cycle_at_a_lower_peak_and_ends_at_the_floor():
    rates = [cosine_cycles(step, 100, 4, 0.7, 1e-3) for step in range(101)]
    peaks = [rates[step] for step in (0, 25, 50, 75)]
    assert peaks == pytest.approx([1, 0.7, 0.49, 0.343])
    assert rates[100] == pytest.approx(1e-3)
    half_way = 1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * 12 / 25)) / 2
    assert rates[12] == pytest.approx(half_way)
    for cycle in range(4):
        falling = rates[25 * cycle : 25 * cycle + 25]
        assert falling == sorted(falling, reverse=True)


def test_warmup_grows_to_the_first_peak():
    rates = [cosine_cycles(step, 20, 1, 1.0, 0.0, warmup=4) for step in range(5)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1])


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=300),
    st.integers(1, 16),
    st.integers(0, 2**31),
)
def test_an_epoch_visits_every_example_once_in_an_order_of_its_own(lengths, batch_size, seed):
    sampler = LengthGroupedSampler(lengths, batch_size, seed)
    first = list(sampler)
    assert sorted(first) == list(range(len(lengths)))
    assert first == list(LengthGroupedSampler(lengths, batch_size, seed))


def test_epochs_differ_and_batches_are_of_like_length():
    lengths = torch.randint(1, 500, (1600,)).tolist()
    sampler = LengthGroupedSampler(lengths, 16, 0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [
        max(batch) - min(batch)
        for batch in ([lengths[i] for i in first[k : k + 16]] for k in range(0, 1600, 16))
    ]
    assert sum(spread) / len(spread) < 30


def test_long_texts_are_cut_between_characters_and_counted(train_file):
    task = get_task("ner")
    examples = task.read(train_file)
    dataset = TaskDataset(task, examples, 40, 30)
    assert dataset.truncated == sum(
        len(task.input_text(e).encode()) > 40 or len(task.target_text(e).encode()) > 30
        for e in examples
    )
    for item in dataset:
        assert len(item["input_ids"]) <= 41
        assert len(item["labels"]) <= 31
        assert "\ufffd" not in dataset.tokenizer.decode(item["labels"])


def test_batches_are_padded_on_the_right():
    items = [{"input_ids": [5, 1], "labels": [7, 8, 1]}, {"input_ids": [5, 6, 1], "labels": [1]}]
    batch = collate(items)
    assert batch["input_ids"].tolist() == [[5, 1, 0], [5, 6, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [[7, 8, 1], [1, -100, -100]]
