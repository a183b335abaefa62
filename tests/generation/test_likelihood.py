"""Likelihoods of given texts are those that the model's loss says, in any batch."""

import numpy as np
import pytest
import torch

from kebyt5 import ByteTokenizer
from kebyt5.generation.likelihood import log_likelihoods
from tests.models.samples import of_a_library

INPUTS = ["가", "서울에서 부산까지 기차를 탔다.", "b"]
TARGETS = ["정치", "IT과학", "x", ""]


@pytest.mark.parametrize("batch_size", [1, 8, 100])
def test_equal_the_loss_of_each_pair(tiny_model, batch_size):
    model = tiny_model(z_loss=0.0)
    found = log_likelihoods(model, INPUTS, [TARGETS[: i + 2] for i in range(3)], batch_size)
    assert [len(row) for row in found] == [2, 3, 4]
    tokenizer = ByteTokenizer()
    for i, source in enumerate(INPUTS):
        for j, target in enumerate(TARGETS[: i + 2]):
            ids, labels = (tokenizer(t, return_tensors="pt").input_ids for t in (source, target))
            with torch.no_grad():
                loss = model(input_ids=ids, labels=labels).loss.item()
            assert found[i][j] == pytest.approx(-loss * labels.shape[1], abs=1e-4)


def test_long_candidates_are_decoded_few_at_a_time_in_linear_memory(tiny_model, monkeypatch):
    model = tiny_model()
    most, source, passes = 200, "나" * 60, []
    candidates = ["가" * count for count in (0, 1, 20, 80, 2, 2, 1)]

    def note(_, inputs, options):
        rows, size = options["input_ids"].shape
        passes.append((rows, size + options["encoder_hidden_states"].shape[1]))

    @of_a_library
    def note_packing(_, inputs, options):
        assert options["segments"] is not None  # else scores of all bytes with all are kept

    alone = [log_likelihoods(model, [source], [[text]])[0][0] for text in candidates]
    model.decoder.register_forward_pre_hook(note, with_kwargs=True)
    model.decoder.block[0].register_forward_pre_hook(note_packing, with_kwargs=True)
    monkeypatch.setattr("kebyt5.generation.likelihood.MAX_PASS", most)
    (together,) = log_likelihoods(model, [source], [candidates])
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert sum(rows for rows, _ in passes) == len(candidates)
    assert max(rows for rows, _ in passes) > 1
    assert all(rows == 1 or rows * size <= most for rows, size in passes)


def test_no_tokenizer_is_made_for_a_batch(tiny_model, monkeypatch):
    model = tiny_model()
    log_likelihoods(model, ["가"], [["나"]])
    monkeypatch.setattr(ByteTokenizer, "__init__", lambda self: pytest.fail("takes 4 ms"))
    log_likelihoods(model, INPUTS, [TARGETS] * 3, batch_size=1)


def test_all_continuations_have_probability_one_together(tiny_model):
    model = tiny_model()
    # Every text of at most one byte, and what is left for longer ones.
    one_byte = [chr(byte) for byte in range(128)]
    found = np.exp(log_likelihoods(model, ["가"], [["", *one_byte]])[0])
    assert 0 < found.sum() < 1


def test_what_reads_like_a_special_token_is_text(tiny_model):
    model = tiny_model()
    texts = ["", "</s>", "a<s>b</s>", "<extra_id_0>", "<pad>"]
    (found,) = log_likelihoods(model, ["가"], [texts])
    for text, likelihood in zip(texts, found, strict=True):
        labels = torch.tensor([[*(byte + 3 for byte in text.encode()), 1]])
        ids = torch.from_numpy(ByteTokenizer().encode_array("가"))[None]
        with torch.inference_mode():
            logits = model(input_ids=ids, labels=labels).logits.log_softmax(-1)
        expected = logits.gather(-1, labels[..., None]).sum()
        np.testing.assert_allclose(likelihood, expected, rtol=1e-4)


def test_nothing_to_judge(tiny_model):
    assert log_likelihoods(tiny_model(), [], []) == []
    assert log_likelihoods(tiny_model(), ["가"], [[]])[0].shape == (0,)
    with pytest.raises(ValueError, match="1 inputs, but candidates for 0"):
        log_likelihoods(tiny_model(), ["가"], [])


def test_training_mode_is_left_as_it_was(tiny_model, monkeypatch):
    model = tiny_model().train()
    log_likelihoods(model, ["가"], [["나"]])
    assert model.training
    monkeypatch.setattr(model, "get_encoder", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        log_likelihoods(model, ["가"], [["나"]])
    assert model.training
