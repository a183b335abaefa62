"""The trainer of a pretraining run: its data, optimizer, schedule, validation and history."""

import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from transformers import TrainingArguments

from kebyt5.errors import InputError, one_line
from kebyt5.models.tokenization_kebyt5 import PAD
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.examples import Examples
from kebyt5.pretraining.history import History
from kebyt5.pretraining.optimizer import slow_down_queries
from kebyt5.pretraining.stopping import begin_worker
from kebyt5.pretraining.validation import Validation
from kebyt5.training.arguments import shared_arguments
from kebyt5.training.processes import (
    keep_tied_embeddings_together,
)
from kebyt5.training.schedule import constant, inverse_square_root
from kebyt5.training.trainer import ByteModelTrainer


class TrainingData(Dataset[dict[str, torch.Tensor]]):
    """The first `size` examples as a map-style dataset that makes whole batches at once."""

    def __init__(self, examples: Examples, size: int) -> None:
        self.examples = examples
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: ids[0] for name, ids in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        """Returns the examples as one batch, which the data loader passes on unchanged."""
        inputs, labels = map(torch.from_numpy, self.examples.batch(indices))
        return {"input_ids": inputs, "attention_mask": inputs.ne(PAD).long(), "labels": labels}


def _as_it_is(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Collates nothing: `TrainingData` makes whole batches. Workers receive it as a pickle."""
    return batch


def _require_own_optimizer(deepspeed: Any) -> None:
    """Refuses a configuration of DeepSpeed that would replace settings of the run, or lose it.

    Args:
        deepspeed: Accelerate's plugin, or None without DeepSpeed.

    Raises:
        InputError: It names an optimizer or a schedule, or would not gather sharded weights.
    """
    if deepspeed is None:
        return
    settings = deepspeed.deepspeed_config
    for name in ("optimizer", "scheduler"):
        if name in settings:
            raise InputError(
                f"the configuration of DeepSpeed has its own {name}; remove it, as kebyt5 pretrain"
                " has options for that"
            )
    stage = settings.get("zero_optimization", {})
    if stage.get("stage") == 3 and not stage.get("stage3_gather_16bit_weights_on_model_save"):
        raise InputError(
            "the configuration of DeepSpeed has ZeRO stage 3, but not"
            " stage3_gather_16bit_weights_on_model_save, without which no weights can be written"
        )


class PretrainTrainer(ByteModelTrainer):
    """A `Trainer` with the order, schedule, validation and history of a pretraining run.

    Args:
        config: The settings.
        validation: Measures bits per byte; None without validation text.
        history: Log of the main process; None in the others.
        **kwargs: Arguments of `Trainer`.
    """

    config: PretrainConfig

    def __init__(
        self,
        config: PretrainConfig,
        validation: Validation | None,
        history: History | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_collator=_as_it_is, **kwargs)
        _require_own_optimizer(self.accelerator.state.deepspeed_plugin)
        if self.is_fsdp_enabled:
            keep_tied_embeddings_together(self.model)
        self.config = config
        self.validation = validation
        self.history = history
        self.began = time.monotonic() - (history.seconds if history else 0.0)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Makes a data loader whose workers ignore SIGTERM; see `begin_worker`."""
        loader = super().get_train_dataloader()
        own = getattr(loader, "base_dataloader", loader)  # Accelerate wraps it
        own.worker_init_fn = partial(begin_worker, own.worker_init_fn)
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Creates the configured optimizer, with a smaller learning rate for queries."""
        if self.optimizer is None:
            slow_down_queries(super().create_optimizer(model), model or self.model)
        return self.optimizer

    def learning_rate(self, steps: int) -> Callable[[int], float]:
        """Returns the configured schedule."""
        if self.config.schedule == "constant":
            return partial(constant, warmup=self.config.warmup_steps)
        if self.config.schedule == "inverse-sqrt":
            return partial(inverse_square_root, warmup=self.config.warmup_steps)
        return super().learning_rate(steps)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Appends to the history; the trainer's own log would be rewritten in every checkpoint."""
        if "loss" in logs:
            self._require_finite(logs)
            self._add(**{k: logs[k] for k in ("loss", "grad_norm", "learning_rate") if k in logs})
        self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measures bits per byte by source."""
        if self.validation is None:
            return {}
        with self.compute_loss_context_manager():
            bits = self.validation.bits_per_byte(self.model_wrapped, self.accelerator)
        self._add(bits_per_byte=bits)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, bits)
        return bits

    def _require_finite(self, logs: dict[str, float]) -> None:
        """Ends a run that diverged, before a checkpoint of it takes the place of a good one."""
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise InputError(
                    f"step {self.state.global_step}: {name} is {logs[name]}, so training diverged;"
                    " begin a new run with a lower --learning-rate, for example from a checkpoint"
                    f" of this one: --model {self.config.output}/checkpoint-…"
                )

    def _add(self, **entry: Any) -> None:
        if self.history is not None:
            seconds = round(time.monotonic() - self.began, 3)
            self.history.add(step=self.state.global_step, **entry, seconds=seconds)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.history is not None:
            self.history.sync()
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:  # torch and safetensors raise their own for a full disk
            problem = cannot_be_written(folder, error)  # before there is more room
            if self.is_world_process_zero():
                shutil.rmtree(folder, ignore_errors=True)
            raise problem from error


def training_arguments(config: PretrainConfig, size: int, accumulation: int) -> TrainingArguments:
    """Converts the settings to `TrainingArguments`."""
    return TrainingArguments(
        **shared_arguments(config, size, accumulation),
        max_steps=config.steps,
        adam_beta2=0.98,
        activation_checkpointing=config.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=config.keep_checkpoints,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],
        ddp_find_unused_parameters=False,
        dataloader_num_workers=config.workers,
        disable_tqdm=True,
    )


def cannot_be_written(path: Path, error: Exception) -> InputError:
    """The error for a checkpoint that could not be written, with its cause and the remedy."""
    free = ""
    with suppress(OSError):  # the folder may be gone
        free = f" ({shutil.disk_usage(path.parent).free / 2**20:,.1f} MiB are free)"
    return InputError(
        f"{path}: the model cannot be written: {one_line(error)}{free}; make room if there is too"
        " little, and continue from the last checkpoint with --resume"
    )
