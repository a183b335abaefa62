"""Freezing, schedule, order and batches of a fine-tuning run."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.errors import InputError
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.data import (
    LengthGroupedSampler,
    TaskDataset,
    collate,
    hold_out,
    mixture_counts,
)
from kebyt5.finetuning.freezing import freeze
from kebyt5.finetuning.fresh_decoder import renew_decoder
from kebyt5.finetuning.trainer import prepare_model
from kebyt5.models.tokenization_kebyt5 import EOS, OFFSET
from kebyt5.tasks import Example, get_task
from kebyt5.tasks.squad import Answers

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


def test_a_fresh_decoder_is_drawn_by_the_seed_and_leaves_the_encoder_alone(tiny_model):
    before = dict(tiny_model().named_parameters())
    drawn = []
    for seed in (1, 1, 2):  # the fixture has 0
        model, state = tiny_model(), torch.get_rng_state()
        names = renew_decoder(model, seed)
        assert torch.equal(torch.get_rng_state(), state)
        drawn.append(dict(model.named_parameters()))
    assert {name for name in before if name.startswith(("decoder", "lm_head"))} == set(names)
    for name in before:
        is_kept = torch.equal(drawn[0][name], before[name])
        assert is_kept == (name not in names or "layer_norm" in name)
        assert torch.equal(drawn[0][name], drawn[1][name])
    name = "decoder.block.0.layer.1.EncDecAttention.q.weight"
    assert not torch.equal(drawn[0][name], drawn[2][name])
    # As in other random models, heads begin near: what is farther counts less.
    bias = drawn[0]["decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    assert (bias.diff(dim=0) <= 0).all()
    assert bias[-1, 0] < -10


def test_a_fresh_decoder_and_adapters_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="--fresh-decoder with --lora"):
        FinetuneConfig(
            task=["ner"], train=[tmp_path], dev=[tmp_path], output=tmp_path,
            fresh_decoder=True, lora=4,
        )  # fmt: skip


def test_random_weights_are_those_of_the_seed(tmp_path):
    config = FinetuneConfig(
        task=["ner"], train=[tmp_path], dev=[tmp_path], output=tmp_path,
        checkpoint="random:gbst-kebyt5-tiny",
    )  # fmt: skip
    weights = []
    for config.seed in (0, 0, 1):
        model = prepare_model(config)
        weights.append(model.lm_head.weight)
    assert model.config.downsample_factor == 3
    assert model.training
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    config.checkpoint = "random:tiny"
    with pytest.raises(InputError, match=r"tiny: no such shape; there are kebyt5-tiny, "):
        prepare_model(config)


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
    dataset = TaskDataset([(task, examples)], 40, 30)
    assert dataset.truncated == sum(
        len(task.input_text(e).encode()) > 40 or len(task.target_text(e).encode()) > 30
        for e in examples
    )
    for item in dataset:
        assert len(item["input_ids"]) <= 41
        assert len(item["labels"]) <= 31
        assert "\ufffd" not in dataset.tokenizer.decode(item["labels"])


@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.floats(1, 100))
def test_a_mixture_has_as_many_examples_as_its_tasks_in_the_shares_of_the_temperature(sizes, t):
    counts = mixture_counts(sizes, t)
    assert sum(counts) == sum(sizes)
    shares = [size ** (1 / t) for size in sizes]
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - share / sum(shares) * sum(sizes)) <= 1
    assert mixture_counts(sizes, 1) == sizes


def headlines(count):
    return [Example(f"{n}", {"title": f"{n}"}, "경제") for n in range(count)]


@pytest.mark.parametrize(("sizes", "temperature"), [((30, 6), 4.0), ((5,), 1.0), ((7, 7, 90), 2.0)])
def test_every_example_is_drawn_before_any_is_drawn_again(sizes, temperature):
    parts = [(get_task("ynat"), headlines(size)) for size in sizes]
    dataset = TaskDataset(parts, 99, 99, temperature=temperature)
    drawn = np.zeros(sum(sizes), int)
    for epoch in range(7):
        dataset.set_epoch(epoch)
        assert len(dataset) == sum(sizes) == len(dataset.lengths)
        drawn += np.bincount(dataset.order, minlength=len(drawn))
        begin = 0
        for size in sizes:
            part = drawn[begin : begin + size]
            assert part.max() - part.min() <= 1
            begin += size
    order = dataset.order
    dataset.set_epoch(0)
    dataset.set_epoch(6)
    assert (dataset.order == order).all()


def test_windows_of_long_contexts_are_examples_of_their_own():
    task = get_task("korquad")
    inputs = {"question": "어디?", "context": "가" * 300 + "제주" + "나" * 300}
    dataset = TaskDataset([(task, [Example("q", inputs, Answers(("제주",)))])], 300, 99, stride=150)
    assert dataset.truncated == 1
    texts = [dataset.tokenizer.decode(item["input_ids"]) for item in dataset]
    assert 1 <= len(texts) <= 2
    assert all("제주" in text for text in texts)


@pytest.mark.parametrize("folds", [2, 4])
def test_each_example_is_held_out_once(folds):
    examples = headlines(11)
    parts = [hold_out(get_task("ynat"), examples, folds, fold) for fold in range(folds)]
    assert sorted(e.id for part in parts for e in part.dev) == sorted(e.id for e in examples)
    sizes = [len(part.dev) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        assert [e for e in examples if e in part.train or e in part.dev] == examples
        assert not [e for e in part.train if e in part.dev]


def test_folds_do_not_part_a_dialogue_or_the_questions_about_a_text():
    turns = [Example(f"d{n // 3}-{n % 3}", {"dialogue": f"{n}"}, frozenset()) for n in range(15)]
    questions = [
        Example(f"{n}", {"question": f"{n}", "context": f"{n % 5}"}, Answers(("a",)))
        for n in range(15)
    ]
    pairs = [Example(f"{n}", {"premise": f"{n % 5}", "hypothesis": f"{n}"}) for n in range(15)]
    files = ("wos", turns), ("mrc", questions), ("korquad", questions), ("nli", pairs)
    for name, examples in files:
        task = get_task(name)
        for fold in range(2):
            part = hold_out(task, examples, 2, fold)
            together = {task.group(e) for e in part.dev} & {task.group(e) for e in part.train}
            assert not together
            assert part.dev
        with pytest.raises(InputError, match="only 5 examples that can be separated"):
            hold_out(task, examples, 6, 0)


def test_examples_may_be_few_or_none():
    task = get_task("ynat")
    assert len(TaskDataset([(task, [])], 99, 99)) == 0
    assert len(TaskDataset([(task, []), (task, headlines(2))], 99, 99, temperature=9.0)) == 2
    assert mixture_counts([30000, 3000], 0.01) == [33000, 0]


def test_batches_are_padded_on_the_right():
    items = [{"input_ids": [5, 1], "labels": [7, 8, 1]}, {"input_ids": [5, 6, 1], "labels": [1]}]
    batch = collate(items)
    assert batch["input_ids"].tolist() == [[5, 1, 0], [5, 6, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [[7, 8, 1], [1, -100, -100]]


def test_targets_are_bytes_whatever_they_contain():
    task = get_task("seq2seq")
    text = "<s>나</s>다<extra_id_0>"
    example = Example("1", {"text": "가"}, text)
    (item,) = TaskDataset([(task, [example])], 60, 60)
    assert item["labels"] == [byte + OFFSET for byte in text.encode()] + [EOS]
