"""What a trainer says of the checkpoints that it loads."""

import pytest
from safetensors.torch import load_file, save_file
from transformers import T5Config, TrainingArguments
from transformers.trainer import logger

from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
from kebyt5.training.trainer import ByteModelTrainer

SHAPE = {
    "vocab_size": 384, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 1,
    "num_decoder_layers": 1, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0,
}  # fmt: skip


@pytest.mark.parametrize("is_plain", [True, False])
def test_only_weights_that_are_really_missing_are_warned_of(
    tiny_model, tmp_path, monkeypatch, is_plain
):
    model = KEByT5ForConditionalGeneration(T5Config(**SHAPE)) if is_plain else tiny_model()
    model.save_pretrained(tmp_path / "checkpoint-1")
    told = []
    monkeypatch.setattr(logger, "warning", told.append)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    trainer = ByteModelTrainer(model=model, args=arguments)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert told == []
    path = tmp_path / "checkpoint-1" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("lm_head.weight", None)
    tensors.pop("encoder.final_layer_norm.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert len(told) == 1
    assert "encoder.final_layer_norm.weight" in told[0]
