"""Alternatives share their weights, and those that compute the same agree."""

import re

import pytest
import torch

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.weights import SIZES, Weights, gbst_config, plain_config
from kebyt5.bench.workload import copying_batch, random_batch, sentence_of
from kebyt5.models.loading import load
from kebyt5.models.presets import preset_config
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

PLAIN = ["transformers-eager", "transformers-sdpa", "kebyt5"]
GBST = ["naive-gbst", "kebyt5-gbst"]


@pytest.fixture(scope="module")
def weights():
    return Weights.draw("tiny")


@pytest.fixture
def uneven():
    """Two texts of different length, the second padded."""
    batch = random_batch(2, 61, 12)
    batch.attention_mask[1, 40:] = 0
    batch.input_ids[1, 40:] = 0
    return batch


def gradients(runner):
    return {name: p.grad.clone() for name, p in runner.model.named_parameters()}


@pytest.mark.parametrize("names", [PLAIN, GBST], ids=["plain", "gbst"])
def test_training_steps_agree(weights, uneven, names):
    runners = [ALTERNATIVES[name](weights) for name in names]
    losses, blocks = [], []
    for runner in runners:
        losses.append(runner.train(uneven).item())
        blocks.append(gradients(runner))
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-5)
    shared = set.intersection(*(set(block) for block in blocks))
    assert len(shared) > 50
    for block in blocks[1:]:
        for name in shared:
            torch.testing.assert_close(block[name], blocks[0][name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "names",
    [[*PLAIN, "ctranslate2-float32", "kebyt5-engine"], [*GBST, "kebyt5-gbst-engine"]],
    ids=["plain", "gbst"],
)
def test_generated_bytes_agree(weights, uneven, names):
    outputs = [ALTERNATIVES[name](weights).generate(uneven, 6, lambda: None) for name in names]
    assert all(len(ids) == 6 for ids in outputs[0])
    assert all(output == outputs[0] for output in outputs)


INT8 = [name for name in ALTERNATIVES if "int8" in name and "generate" in ALTERNATIVES[name].does]


@pytest.mark.parametrize("name", INT8)
def test_int8_runs_and_is_not_quite_the_same(weights, name):
    batch = random_batch(1, 61, 12)
    ids = ALTERNATIVES[name](weights).generate(batch, 6, lambda: None)
    assert len(ids[0]) == 6
    assert weights.tensors["decoder.block.0.layer.0.SelfAttention.q.weight"].dtype == torch.float32


def test_prompt_lookup_changes_no_byte(weights):
    batch = random_batch(1, 61, 12)
    names = ["transformers-sdpa", "transformers-lookup"]
    plain, guessed = (ALTERNATIVES[n](weights).generate(batch, 30, lambda: None) for n in names)
    assert plain == guessed


def test_a_model_to_copy_with_is_the_one_that_is_named(tmp_path):
    model = load("tiny")
    with torch.no_grad():
        model.shared.weight[7] += 1.0
    model.save_pretrained(tmp_path)
    found = Weights.copying("tiny", str(tmp_path)).tensors["shared.weight"]
    torch.testing.assert_close(found, model.shared.weight)


def test_engines_say_how_they_came_by_their_copies():
    weights, batch = Weights.copying("tiny"), copying_batch(2, 300, 60)
    free, constrained = (
        ALTERNATIVES[f"kebyt5-gbst-engine{kind}"](weights) for kind in ("", "-constrained")
    )
    copies = free.copy(batch, 60, lambda: None)
    assert copies == free.generate(batch, 60, lambda: None)
    assert free.statistics.passes == 120
    free.copy(batch, 60, lambda: None)
    assert free.statistics.passes < 40
    assert free.statistics.forced == 0
    (copy, _) = constrained.copy(batch, 60, lambda: None)
    sentence = sentence_of(ByteTokenizer().decode(batch.input_ids[0], skip_special_tokens=True))
    text = ByteTokenizer().decode(copy[:-2]).rstrip("\ufffd")
    assert sentence.startswith(re.sub(r"<|:[A-Z]{2}>", "", text))
    assert constrained.statistics.forced > 0


@pytest.mark.parametrize("name", [n for n in ALTERNATIVES if "generate" in ALTERNATIVES[n].does])
def test_every_byte_is_told(weights, name):
    told = []
    size = ALTERNATIVES[name].largest_batch or 2
    ALTERNATIVES[name](weights).generate(random_batch(size, 20, 4), 4, lambda: told.append(1))
    assert len(told) == 4


@pytest.mark.parametrize("name", [*PLAIN, *GBST])
def test_weights_are_shared_not_copied(weights, name):
    runner = ALTERNATIVES[name](weights)
    ours = {id(tensor) for tensor in weights.tensors.values()}
    assert all(id(parameter) in ours for parameter in runner.model.parameters())
    head, embedding = runner.model.lm_head.weight, runner.model.shared.weight
    assert head is not embedding


def test_gradients_do_not_pile_up(weights):
    batch = random_batch(1, 30, 5)
    runner = ALTERNATIVES["kebyt5-gbst"](weights)
    runner.train(batch)
    once = gradients(runner)
    ALTERNATIVES["naive-gbst"](weights).train(batch)
    runner.train(batch)
    for name, gradient in gradients(runner).items():
        torch.testing.assert_close(gradient, once[name])


def test_weights_are_of_the_scale_of_t5(weights):
    config = plain_config("tiny")
    query = weights.tensors["encoder.block.0.layer.0.SelfAttention.q.weight"]
    inner = weights.tensors["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"]
    assert query.std().item() == pytest.approx((config.d_model * config.d_kv) ** -0.5, rel=0.05)
    assert inner.std().item() == pytest.approx(config.d_model**-0.5, rel=0.05)
    norms = [t for name, t in weights.tensors.items() if "layer_norm" in name]
    assert len({tuple(norm.tolist()) for norm in norms}) == len(norms)


def test_weights_come_back_from_their_file(weights, tmp_path):
    weights.save(tmp_path / "weights.safetensors")
    again = Weights.read("tiny", tmp_path / "weights.safetensors")
    assert again.tensors.keys() == weights.tensors.keys()
    for name, tensor in weights.tensors.items():
        assert torch.equal(tensor, again.tensors[name])

    def distinct(weights):
        return len({id(tensor) for tensor in weights.tensors.values()})

    assert distinct(again) == distinct(weights) == len(weights.tensors) - 2


def test_sizes_are_those_of_the_presets():
    assert SIZES == ("tiny", "small", "base", "large")
    for size in ("base", "large"):
        ours, preset = gbst_config(size), preset_config(f"gbst-kebyt5-{size}", z_loss=0.0)
        assert ours.to_dict() == preset.to_dict()


def test_random_batches_have_exactly_these_lengths():
    batch = random_batch(3, 100, 17)
    assert batch.input_ids.shape == batch.attention_mask.shape == (3, 100)
    assert batch.labels.shape == (3, 17)
    assert (batch.input_ids[:, -1] == 1).all()
    assert (batch.labels[:, -1] == 1).all()
    assert len({tuple(row) for row in batch.input_ids.tolist()}) == 3
    assert torch.equal(batch.input_ids, random_batch(3, 100, 17).input_ids)


def test_prompts_to_copy_have_exactly_these_lengths_and_hold_their_answer():
    for length in (299, 300, 301, 1024):
        batch = copying_batch(3, length, 64)
        assert batch.input_ids.shape == (3, length)
        assert len({tuple(row) for row in batch.input_ids.tolist()}) == 3
        prompt = ByteTokenizer().decode(batch.input_ids[0], skip_special_tokens=True)
        assert prompt.startswith("task: NER")
        assert len(sentence_of(prompt).encode()) > 200
    with pytest.raises(ValueError, match="needs room"):
        copying_batch(1, 60, 64)
