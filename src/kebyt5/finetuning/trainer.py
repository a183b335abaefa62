"""The trainer of a fine-tuning run: order of examples, learning rate and validation."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import parse_flag_from_env
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from kebyt5.errors import InputError
from kebyt5.evaluation.evaluate import mean_main_score
from kebyt5.evaluation.options import PredictOptions
from kebyt5.evaluation.predict import predict
from kebyt5.finetuning.config import RANDOM, FinetuneConfig
from kebyt5.finetuning.data import LengthGroupedSampler, TaskData, TaskDataset, collate
from kebyt5.finetuning.freezing import freeze
from kebyt5.finetuning.fresh_decoder import renew_decoder
from kebyt5.finetuning.progress import ShowScores
from kebyt5.models.loading import SHIPPED, base_of_adapter, load_float
from kebyt5.training.arguments import shared_arguments
from kebyt5.training.initialization import random_model, set_dropout
from kebyt5.training.processes import divide_batch, this_process
from kebyt5.training.trainer import ByteModelTrainer

_LOSS_WEIGHT = 1e-6
"""Far below the difference of any two scores in percent."""

LORA_TARGETS = ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]


class SetEpoch(TrainerCallback):
    """Sets the epoch of sampler and dataset; Accelerate forgets one of them in resumed epochs."""

    def __init__(self, sampler: LengthGroupedSampler, dataset: TaskDataset) -> None:
        self.sampler = sampler
        self.dataset = dataset

    def on_epoch_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Sets the current epoch, also when resuming within it."""
        epoch = int((state.epoch or 0) + 1e-6)
        self.dataset.set_epoch(epoch)
        self.sampler.set_epoch(epoch)
        self.sampler.lengths = self.dataset.lengths


class FinetuneTrainer(ByteModelTrainer):
    """A `Trainer` that validates by the official scores of generated answers.

    Args:
        config: The settings.
        model: The model to train.
        data: Tasks with their examples.
        dataset: The encoded training examples.
    """

    config: FinetuneConfig

    def __init__(
        self,
        config: FinetuneConfig,
        model: PreTrainedModel,
        data: Sequence[TaskData],
        dataset: TaskDataset,
    ) -> None:
        self.config = config
        self.samples = [(part.task, part.dev[: config.eval_examples]) for part in data]
        super().__init__(
            model=model,
            args=training_arguments(config),
            train_dataset=dataset,
            eval_dataset=TaskDataset(
                self.samples,
                config.max_input_bytes,
                config.max_target_bytes,
                config.stride,
                training=False,
            ),
            data_collator=collate,
        )
        self.sampler = LengthGroupedSampler(dataset.lengths, config.batch_size, config.seed)
        self.add_callback(SetEpoch(self.sampler, dataset))
        self.add_callback(ShowScores([task for task, _ in self.samples]))

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Computes the loss and the official scores of the validation sample.

        With several tasks the name of each score begins with its task's; `eval_main_score` is the
        mean of the main scores, and `eval_choice`, by which the best checkpoint is chosen, is that
        score with the loss as a tie-breaker.
        """
        metrics = super().evaluate(*args, **kwargs) if len(self.eval_dataset) else {}
        options = predict_options(self.config)
        results = []
        scores: dict[str, float] = {}
        for task, sample in self.samples:
            predictions = predict(self.model, task, sample, options, may_diverge=True)
            # Where training diverged, an earlier checkpoint may be the best one.
            found = {task.main_score: math.nan}
            if predictions.is_finite:
                found = predictions.score(task)
            results.append((task, found))
            before = f"eval_{task.name}_" if len(self.samples) > 1 else "eval_"
            scores |= {before + name: value for name, value in found.items()}
        scores["eval_main_score"] = main_score = mean_main_score(results)
        loss = metrics.get("eval_loss", 0.0)
        # Of equal scores, such as zeros at first, that with the smaller loss is the better one.
        scores["eval_choice"] = main_score - _LOSS_WEIGHT * loss / (1 + loss)
        self.log(scores)
        return metrics | scores

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # A run of fractional epochs, resumed when it is complete, would be trained a step more.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        return self.sampler


def predict_options(config: FinetuneConfig) -> PredictOptions:
    """Makes the options with which a run answers its validation examples."""
    return PredictOptions(
        max_input_bytes=config.max_input_bytes,
        max_new_bytes=config.max_new_bytes,
        stride=config.stride,
        batch_size=config.device_batch_size,
        constrain=config.constrain,
    )


def device_count() -> int:
    """The number of devices among which a batch is divided.

    Raises:
        InputError: FSDP would shard the model, but each process needs all weights to generate
            answers between the steps.
    """
    if parse_flag_from_env("ACCELERATE_USE_FSDP"):
        raise InputError(
            "FSDP is for pretraining: fine-tuning needs the whole model on every device; launch it"
            " with --multi_gpu, and save memory with --bf16, --gradient-checkpointing or --lora"
        )
    processes = this_process().num_processes
    return processes if processes > 1 else max(1, torch.cuda.device_count())


def training_arguments(config: FinetuneConfig) -> TrainingArguments:
    """Converts the settings to `TrainingArguments`."""
    size, accumulation = divide_batch(config.batch_size, config.device_batch_size, device_count())
    when = "steps" if config.eval_steps else "epoch"
    return TrainingArguments(
        **shared_arguments(config, size, accumulation),
        num_train_epochs=config.epochs,
        per_device_eval_batch_size=size,
        eval_strategy=when,
        eval_steps=config.eval_steps,
        save_strategy=when,
        save_steps=config.eval_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="choice",
        greater_is_better=True,
        prediction_loss_only=True,
        logging_steps=10,
        report_to=["tensorboard"],
        disable_tqdm=True,  # `ShowScores` has a bar
    )


def prepare_model(config: FinetuneConfig) -> PreTrainedModel:
    """Loads the checkpoint and sets up frozen parts, adapters and dropout as configured.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        InputError: The checkpoint is an adapter, and another adapter would be trained on it.
    """
    if config.checkpoint.startswith(RANDOM):
        model = random_model(config.checkpoint.removeprefix(RANDOM), config.seed)
    else:
        if config.lora is not None and base_of_adapter(config.checkpoint):
            raise InputError(
                f"--checkpoint {config.checkpoint} with --lora: an adapter, to which another cannot"
                f" be added; fold it first: kebyt5 merge {config.checkpoint} --output FOLDER"
            )
        model = load_float(config.checkpoint)
    if config.fresh_decoder:
        renew_decoder(model, config.seed)
    if config.gradient_checkpointing:
        # Renamed in the course of Transformers 5.
        old_name = model.gradient_checkpointing_enable
        getattr(model, "activation_checkpointing_enable", old_name)({"use_reentrant": False})
    if config.dropout is not None:
        model.config.dropout_rate = config.dropout
        set_dropout(model, config.dropout)
    if config.lora is None:
        freeze(model, config.freeze)
        return model.train()
    from peft import LoraConfig, get_peft_model

    if config.checkpoint not in SHIPPED and Path(config.checkpoint).is_dir():
        # The adapter records this path, so that it finds its base from any directory.
        model.name_or_path = str(Path(config.checkpoint).resolve())
    lora = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=config.lora,
        lora_alpha=2 * config.lora,
        target_modules=LORA_TARGETS,
    )
    return get_peft_model(model, lora).train()
