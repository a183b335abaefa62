"""Merging gives the mean of the parts, or says why there is none."""

import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model

import kebyt5
from kebyt5.errors import InputError
from kebyt5.models import merging
from kebyt5.models.loading import base_of_adapter, load_float
from kebyt5.models.merging import merge, merge_card


@pytest.fixture
def save(tiny_model, tmp_path):
    """Writes a small checkpoint of random weights and returns its folder."""

    def write(name, seed=0, **changes):
        model = tiny_model(**changes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.02, generator=generator)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def adapter(save, tmp_path):
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"], init_lora_weights=False)
    get_peft_model(kebyt5.load(save("base")), lora).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("weights", [None, [3, 1, 4]])
def test_every_tensor_is_the_mean_of_the_parts_in_float64(save, weights):
    parts = [save(f"part-{seed}", seed) for seed in range(3)]
    merged = merge(parts, weights).state_dict()
    states = [kebyt5.load(part).state_dict() for part in parts]
    shares = [w / sum(weights) for w in weights] if weights else [1 / 3] * 3
    for name, tensor in merged.items():
        mean = sum(share * s[name].double() for share, s in zip(shares, states, strict=True))
        assert torch.equal(tensor, mean.float()), name


def test_many_copies_of_a_checkpoint_give_it_again(save):
    # In float32 the sum of a hundred copies would be off in the last places.
    part = save("part")
    merged = merge([part] * 100).state_dict()
    assert all(torch.equal(merged[n], t) for n, t in kebyt5.load(part).state_dict().items())


def test_one_model_is_held_at_a_time_beside_the_sums(save, monkeypatch):
    alive = weakref.WeakSet()

    def load(checkpoint):
        assert not alive, "another model is still there"
        model = load_float(checkpoint)
        alive.add(model)
        return model

    monkeypatch.setattr(merging, "load_float", load)
    merged = merge([save(f"part-{seed}", seed) for seed in range(3)])
    assert list(alive) == [merged]


def test_all_but_the_weights_is_that_of_the_first(save):
    merged = merge([save("one", z_loss=0.1), save("two", z_loss=0.2)])
    assert merged.config.z_loss == 0.1
    assert not merged.training


def test_embeddings_that_are_one_stay_one_and_others_do_not(save):
    merged = merge([save("one", 1), save("two", 2)])
    assert merged.encoder.embed_tokens.embeds.weight is merged.shared.weight
    assert merged.lm_head.weight is not merged.shared.weight


def test_an_adapter_counts_as_its_base_with_it_folded_in(save, adapter):
    folded = kebyt5.load(adapter)
    alone = merge([adapter])
    assert all(torch.equal(alone.state_dict()[n], t) for n, t in folded.state_dict().items())
    other = save("other", 1)
    mean = merge([adapter, other])
    name = "encoder.block.0.layer.0.SelfAttention.q.weight"
    expected = (folded.state_dict()[name] + kebyt5.load(other).state_dict()[name]) / 2
    assert torch.allclose(mean.state_dict()[name], expected)
    assert base_of_adapter(adapter) == str(adapter.parent / "base")
    assert base_of_adapter(other) is None


def test_a_shipped_name_is_not_an_adapter_of_the_same_name(adapter, tmp_path, monkeypatch):
    adapter.rename(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert base_of_adapter("./tiny") is not None
    assert base_of_adapter("tiny") is None


def test_what_concerns_training_alone_may_differ(save):
    merge([save("one"), save("two", dropout_rate=0.3, z_loss=0.1)])


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"d_ff": 64}, r"two: .*one: tensor .*wi_0\.weight is 64×32 here and 48×32 there"),
        ({"num_layers": 3}, r"tensor encoder\.block\.2\..* is .* here and missing there"),
        ({"num_layers": 1}, r"tensor encoder\.block\.1\..* is missing here and"),
        ({"downsample_factor": 2}, r"downsample_factor of config.json is 2 here and 3 there"),
    ],
)
def test_the_first_difference_of_two_architectures_is_named(save, changes, difference):
    with pytest.raises(InputError, match=difference):
        merge([save("one"), save("two", **changes)])


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ([1], "1 weights for 2 checkpoints"),
        ([1, 1, 1], "3 weights for 2 checkpoints"),
        ([1, 0], "weight 0: has to be more than 0"),
        ([1, -1], "weight -1"),
        ([float("nan"), 1], "weight nan"),
    ],
)
def test_weights_that_make_no_mean_are_refused_before_anything_loads(weights, problem):
    with pytest.raises(InputError, match=problem):
        merge(["nowhere", "nowhere"], weights)


def test_only_the_ratio_of_weights_counts(save):
    parts = [save("one"), save("two", 1)]
    mean, of_huge = (merge(parts, weights).state_dict() for weights in ([1, 1], [1e308, 1e308]))
    assert all(torch.equal(mean[name], of_huge[name]) for name in mean)


def test_a_single_whole_checkpoint_is_nothing_to_merge(save):
    with pytest.raises(InputError, match="nothing to merge"):
        merge([save("one")])


def test_the_card_names_the_parts_and_their_shares(save, adapter):
    made = {"command": "kebyt5 merge", "date": "2026-01-01", "commit": "abc"}
    card = merge_card([adapter, "other"], [3, 1], made)
    base = adapter.parent / "base"
    assert f"| `{adapter}`, an adapter folded into `{base}` | 0.75 |" in card
    assert "| `other` | 0.25 |" in card
    assert "`kebyt5 merge`" in card
