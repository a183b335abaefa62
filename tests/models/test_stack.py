"""Stacks without padding compute what Transformers' stacks do."""

import copy
import inspect

import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Stack

from kebyt5.models.fast_path import fast_path
from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.models.presets import preset_config
from kebyt5.models.stack import CACHES
from tests.models.samples import of_a_library

LENGTHS = torch.tensor([[40], [25], [1]])
MASK = (torch.arange(40) < LENGTHS).long()
IDS = torch.randint(3, 259, (3, 40), generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(3, 259, (3, 17), generator=torch.Generator().manual_seed(1))
LABELS[1, 9:] = -100


def models(**changes):
    """The same weights in our class and in that of Transformers."""
    options = {"d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "dropout_rate": 0.0}
    config = preset_config("kebyt5-tiny", **(options | changes))
    torch.manual_seed(0)
    theirs = T5ForConditionalGeneration(copy.deepcopy(config))
    ours = KEByT5ForConditionalGeneration(config)
    for parameter in ours.parameters():  # so that nothing is as good as zero
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.lm_head.weight = torch.nn.Parameter(theirs.lm_head.weight.clone())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def gradients(model, **batch):
    model.zero_grad()
    output = model(**batch)
    output.loss.backward()
    return output, {name: p.grad.clone() for name, p in model.named_parameters()}


# Transformers' norm takes the mean square in float32 also in a float64 model.
@pytest.mark.parametrize(
    "mask",
    [MASK, 2 * MASK, MASK.float(), torch.ones_like(MASK), None],
    ids=["padded", "twos", "floats", "full", "none"],
)
def test_loss_logits_and_every_gradient_are_those_of_transformers(mask):
    ours, theirs = (model.double() for model in models())
    batch = {"input_ids": IDS, "attention_mask": mask, "labels": LABELS}
    output, found = gradients(ours, **batch)
    expected_output, expected = gradients(theirs, **batch)
    torch.testing.assert_close(output.logits, expected_output.logits, atol=1e-5, rtol=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        error = (gradient - expected[name]).norm()
        assert error <= 1e-6 * expected[name].norm() + 1e-9, name
    assert any("relative_attention_bias" in name for name in found)


@pytest.mark.parametrize(
    ("switch", "dtype"),
    [("fused", torch.float64), ("packed", torch.float64), ("onednn", torch.float32)],
)
def test_each_switch_changes_nothing_but_the_way(switch, dtype, monkeypatch):
    ours, _ = (model.to(dtype) for model in models())
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
    output, found = gradients(ours, **batch)
    monkeypatch.setattr(fast_path, switch, False)
    other_output, other = gradients(ours, **batch)
    torch.testing.assert_close(output.logits, other_output.logits, atol=1e-5, rtol=1e-5)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, other[name], atol=1e-5, rtol=1e-5)


def test_padding_is_left_out_of_every_layer(monkeypatch):
    ours, _ = models()
    seen = []

    @of_a_library
    def count(module, args, output):
        seen.append(output.shape[:-1].numel())

    for block in ours.encoder.block:
        block.layer[1].DenseReluDense.wi_0.register_forward_hook(count)
    ours(input_ids=IDS, attention_mask=MASK, labels=LABELS)
    assert seen == [int(LENGTHS.sum())] * 2
    monkeypatch.setattr(fast_path, "packed", False)
    ours(input_ids=IDS, attention_mask=MASK, labels=LABELS)
    assert seen[2:] == [MASK.numel()] * 2


@pytest.mark.parametrize("padding", ["left", "hole", "nothing left"])
def test_masks_that_cannot_be_packed_are_left_to_transformers(padding):
    ours, theirs = models()
    mask = torch.ones_like(MASK)
    if padding == "left":
        mask[1, :7] = 0
    elif padding == "hole":
        mask[1, 5:9] = 0
    else:
        mask[2] = 0
    batch = {"input_ids": IDS, "attention_mask": mask, "labels": LABELS}
    logits, expected = ours(**batch).logits, theirs(**batch).logits
    torch.testing.assert_close(logits[:2], expected[:2], atol=1e-4, rtol=1e-4)


def test_hidden_states_come_unpacked():
    ours, theirs = models()
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
    states = ours(**batch, output_hidden_states=True).encoder_hidden_states
    expected = theirs(**batch, output_hidden_states=True).encoder_hidden_states
    assert len(states) == len(expected) == 3
    for ours_at, theirs_at in zip(states, expected, strict=True):
        counted = MASK.bool()
        torch.testing.assert_close(ours_at[counted], theirs_at[counted], atol=1e-4, rtol=1e-4)
        assert ours_at[~counted].abs().max() == 0


def test_training_with_dropout_is_a_function_of_the_seed():
    ours, _ = models(dropout_rate=0.2)
    ours.train()
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(gradients(ours, **batch)[1])
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert not torch.equal(results[0]["shared.weight"], results[2]["shared.weight"])


def test_checkpointing_draws_the_same_dropout():
    ours, _ = models(dropout_rate=0.2)
    ours.train()
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
    torch.manual_seed(1)
    expected = gradients(ours, **batch)[1]
    ours.gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(1)
    for name, gradient in gradients(ours, **batch)[1].items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)


def test_losses_overlay_those_of_transformers():
    curves = []
    for model in models(d_model=24, num_layers=1):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        losses = []
        for _ in range(200):
            loss = model(input_ids=IDS, attention_mask=MASK, labels=LABELS).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    assert curves[0][-1] < 0.5 * curves[0][0]
    assert (curves[0] - curves[1]).abs().max() < 0.01 * curves[0][0]


@torch.no_grad()
def test_a_cache_that_is_given_is_read_also_where_none_is_to_be_returned():
    decoder = models()[0].eval().decoder
    encoded = torch.randn(3, 40, 32, generator=torch.Generator().manual_seed(2))
    ids, rest = IDS[:, :9], {"encoder_hidden_states": encoded, "encoder_attention_mask": MASK}
    name = "cache" if "cache" in inspect.signature(T5Stack.forward).parameters else CACHES[1]
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    decoder(ids[:, :8], use_cache=True, **{name: cache}, **rest)
    last = decoder(ids[:, 8:], use_cache=False, **{name: cache}, **rest).last_hidden_state
    whole = decoder(ids, use_cache=False, **rest).last_hidden_state
    torch.testing.assert_close(last[:, 0], whole[:, 8], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
@pytest.mark.parametrize("gbst", [True, False])
def test_a_hook_on_a_block_sees_texts_in_rows(tiny_model, gbst, stack):
    model = tiny_model(gbst)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS.clamp(min=3)}
    before = model(**batch).logits
    shapes = []

    def steer(module, arguments, output):
        shapes.append(len(output[0]))
        states = output[0].clone()
        states[:, 0] += 5
        return (states, *output[1:])

    hook = getattr(model, stack).block[0].register_forward_hook(steer)
    for is_learning in (True, False):
        with torch.set_grad_enabled(is_learning):
            changes = (model(**batch).logits - before).abs().amax(dim=(1, 2))
        assert changes.min() > 1e-3
    hook.remove()
    assert shapes == [len(IDS)] * 2
    torch.testing.assert_close(model(**batch).logits, before)


@pytest.mark.parametrize(("gbst", "is_learning"), [(True, True), (False, False)])
def test_long_inputs_compile_as_one_graph(tiny_model, gbst, is_learning):
    model = tiny_model(gbst)
    batch = {
        "input_ids": torch.randint(3, 259, (2, 130)), "labels": torch.randint(3, 259, (2, 40)),
        "attention_mask": torch.ones(2, 130, dtype=torch.long),
    }  # fmt: skip
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.set_grad_enabled(is_learning):
        torch.testing.assert_close(compiled(**batch).loss, model(**batch).loss)


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
def test_every_kind_of_hook_sees_a_text_in_each_row(kind):
    model, _ = models()
    seen = []
    within = model.encoder.block[1].layer[1].DenseReluDense.wi_0
    hook = getattr(within, f"register_{kind}_hook")(lambda _, *given: seen.append(given[-1]))
    model(input_ids=IDS, attention_mask=MASK, labels=LABELS).loss.backward()
    hook.remove()
    states = seen[0] if isinstance(seen[0], torch.Tensor) else seen[0][0]
    assert states.shape[:2] == IDS.shape
