"""What both trainers do: the schedule of the settings, and what they say of checkpoints."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments
from transformers.trainer import logger

from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.trainer import FinetuneTrainer
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.trainer import PretrainTrainer
from kebyt5.training.schedule import constant, cosine_cycles, inverse_square_root
from kebyt5.training.trainer import ByteModelTrainer


@pytest.mark.parametrize("gbst", [True, False])
def test_only_weights_that_are_really_missing_are_warned_of(
    tiny_model, tmp_path, monkeypatch, gbst
):
    model = tiny_model(gbst)
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


CYCLES = {
    "learning_rate": 1e-2, "min_learning_rate": 1e-4, "cycles": 2, "cycle_decay": 0.5,
    "warmup_steps": 4,
}  # fmt: skip


def cycles(step):
    return cosine_cycles(step, 20, 2, 0.5, 1e-2, warmup=4)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", lambda step: constant(step, warmup=4)),
        ("inverse-sqrt", lambda step: inverse_square_root(step, warmup=4)),
        ("cosine", cycles),
        (None, cycles),  # fine-tuning has no other
    ],
)
def test_rates_are_those_of_the_settings(tmp_path, schedule, expected):
    if schedule is None:
        trainer = object.__new__(FinetuneTrainer)
        trainer.config = FinetuneConfig(
            task=["ner"], train=[tmp_path], dev=[tmp_path], output=tmp_path, **CYCLES
        )
    else:
        trainer = object.__new__(PretrainTrainer)
        trainer.config = PretrainConfig(
            corpus=tmp_path, output=tmp_path, steps=20, schedule=schedule, **CYCLES
        )
    weight = torch.nn.Parameter(torch.zeros(1))
    trainer.lr_scheduler = None
    trainer.optimizer = torch.optim.SGD([weight], lr=1e-2)
    scheduler = trainer.create_scheduler(20)
    rates = []
    for _ in range(20):
        rates.append(scheduler.get_last_lr()[0] / 1e-2)
        trainer.optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([expected(step) for step in range(20)])
