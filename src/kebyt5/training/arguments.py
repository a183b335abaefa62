"""Trainer arguments that pretraining and fine-tuning share."""

from typing import Any

import torch

from kebyt5.training.settings import RunSettings


def shared_arguments(config: RunSettings, size: int, accumulation: int) -> dict[str, Any]:
    """Arguments of `TrainingArguments` that follow from settings that every run has.

    Args:
        config: The settings.
        size: Examples that one device computes at a time.
        accumulation: Such batches per optimizer step.
    """
    return {
        "output_dir": str(config.output),
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": "adafactor" if config.optimizer == "adafactor" else "adamw_torch_fused",
        "bf16": config.bf16,
        "use_cpu": not torch.accelerator.is_available(),
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "dataloader_pin_memory": torch.cuda.is_available(),
        "seed": config.seed,
    }
