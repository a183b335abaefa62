"""Parity with the published implementation on its own checkpoints and outputs."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import kebyt5
from kebyt5 import ByteTokenizer

TEXTS = range(7)


@pytest.fixture(scope="module")
def golden(golden_folder):
    model = kebyt5.load(golden_folder)
    return model, load_file(golden_folder / "expected.safetensors")


def relative_error(ours, expected):
    return ((ours - expected).norm() / expected.norm()).item()


def test_tokenizer_gives_the_published_ids(golden_folder):
    expected = load_file(golden_folder / "expected.safetensors")
    texts = json.loads((golden_folder / "texts.json").read_text(encoding="utf-8"))
    for i in TEXTS:
        ids = ByteTokenizer()(texts[i], return_tensors="pt").input_ids
        assert torch.equal(ids, expected[f"{i}.input_ids"])


@pytest.mark.parametrize("i", TEXTS)
def test_states_loss_and_gradients(golden, i):
    model, expected = golden
    model.zero_grad()
    ids = expected[f"{i}.input_ids"]
    subwords, mask = model.encoder.embed_tokens(ids)
    output = model(input_ids=ids, labels=expected[f"{i}.labels"])
    output.loss.backward()

    assert torch.equal(mask, expected[f"{i}.gbst_mask"].bool())
    for ours, name in (
        (subwords, "gbst"),
        (output.encoder_last_hidden_state, "encoder"),
        (output.logits, "logits"),
        (output.loss[None], "loss"),
    ):
        assert relative_error(ours, expected[f"{i}.{name}"]) <= 1e-4, name
    gradients = {name: p.grad for name, p in model.named_parameters()}
    compared = [name for name in expected if name.startswith(f"{i}.grad.")]
    assert len(compared) == 4
    for name in compared:
        assert relative_error(gradients[name.removeprefix(f"{i}.grad.")], expected[name]) <= 1e-3


@pytest.mark.parametrize("i", TEXTS)
def test_generated_ids(golden, i):
    model, expected = golden
    ids = expected[f"{i}.input_ids"]
    mask = torch.ones_like(ids)
    greedy = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=24)
    beam = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=16, num_beams=3)
    assert torch.equal(greedy, expected[f"{i}.greedy"])
    assert torch.equal(beam, expected[f"{i}.beam3"])


def test_right_padding_of_any_size_changes_nothing(golden):
    model, expected = golden
    for i in TEXTS:
        ids = expected[f"{i}.input_ids"]
        labels = expected[f"{i}.labels"]
        alone = model(input_ids=ids, labels=labels)
        for padding in range(1, 41):
            padded = F.pad(ids, (0, padding))
            mask = F.pad(torch.ones_like(ids), (0, padding))
            n = alone.encoder_last_hidden_state.shape[1]
            states = model.get_encoder()(input_ids=padded, attention_mask=mask)[0][:, :n]
            assert relative_error(states, alone.encoder_last_hidden_state) <= 1e-5
            if padding in (1, 2, 3, 7, 23, 40):  # the decoder reads these states
                logits = model(input_ids=padded, attention_mask=mask, labels=labels).logits
                assert relative_error(logits, alone.logits) <= 1e-5


@pytest.mark.parametrize("padding", [1, 7, 23, 40])
def test_greedy_output_is_the_same_in_any_batch(golden, padding):
    model, expected = golden
    rows = [expected[f"{i}.input_ids"][0] for i in TEXTS]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], True)
    generated = model.generate(
        input_ids=F.pad(ids, (0, padding)),
        attention_mask=F.pad(mask, (0, padding)),
        max_new_tokens=24,
    )
    for i in TEXTS:
        alone = expected[f"{i}.greedy"][0]
        assert torch.equal(generated[i, : len(alone)], alone)
        assert not generated[i, len(alone) :].any()
