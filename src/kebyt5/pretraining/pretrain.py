"""Runs pretraining, from shards to a folder with checkpoint, curves and card."""

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from kebyt5.corpus.shards import Shards
from kebyt5.errors import InputError
from kebyt5.models.configuration_gbswt5 import GBSWT5Config
from kebyt5.models.tokenization_kebyt5 import PAD, ByteTokenizer
from kebyt5.output import make_output_folder, whole_folder, write_json, write_text
from kebyt5.pretraining.card import model_card
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.examples import Examples, Share
from kebyt5.pretraining.flops import training_flops
from kebyt5.pretraining.history import History, read_history
from kebyt5.pretraining.mixture import recorded_weights, require_recorded
from kebyt5.pretraining.optimizer import slow_down_queries
from kebyt5.pretraining.plots import plot_history
from kebyt5.pretraining.progress import ShowProgress
from kebyt5.pretraining.resume import can_resume_pretraining
from kebyt5.pretraining.salient import NameFinder, SalientSpans
from kebyt5.pretraining.spans import SpanCorruption
from kebyt5.pretraining.start import starting_model
from kebyt5.pretraining.stopping import Steer, begin_worker
from kebyt5.pretraining.validation import Validation, validation_shards
from kebyt5.provenance import provenance
from kebyt5.training.arguments import shared_arguments
from kebyt5.training.checkpoints import last_checkpoint
from kebyt5.training.devices import (
    divide_batch,
    keep_tied_embeddings_together,
    require_one_device_each,
    this_process,
)
from kebyt5.training.schedule import constant, cosine_cycles, inverse_square_root
from kebyt5.training.settings import to_settings, to_yaml
from kebyt5.training.speed import measured_peak, warn_of_slow_bfloat16


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


class PretrainTrainer(Trainer):
    """A `Trainer` with the order, schedule, validation and history of a pretraining run.

    Args:
        config: The settings.
        validation: Measures bits per byte; None without validation text.
        history: Log of the main process; None in the others.
        **kwargs: Arguments of `Trainer`.
    """

    def __init__(
        self,
        config: PretrainConfig,
        validation: Validation | None,
        history: History | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_collator=lambda batch: batch, **kwargs)
        if self.is_fsdp_enabled:
            keep_tied_embeddings_together(self.model)
        self.config = config
        self.validation = validation
        self.history = history
        self.began = time.monotonic() - (history.seconds if history else 0.0)
        self.remove_callback(PrinterCallback)
        self.model.config.use_cache = True  # a trainer turns it off, and would save that

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

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Creates the configured schedule."""
        self.lr_scheduler: LambdaLR | None
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, learning_rate(self.config))
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Appends to the history; the trainer's own log would be rewritten in every checkpoint."""
        if "loss" in logs:
            self._add(**{k: logs[k] for k in ("loss", "grad_norm", "learning_rate") if k in logs})
        self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measures bits per byte by source."""
        if self.validation is None:
            return {}
        with self.compute_loss_context_manager():
            bits = self.validation.bits_per_byte(self.model_wrapped, self.accelerator)
        self._add(bits_per_byte=bits)
        if self.is_world_process_zero():
            print(f"step {self.state.global_step}: {bits['all']:.4f} bits per byte")
        return bits

    def _add(self, **entry: Any) -> None:
        if self.history is not None:
            seconds = round(time.monotonic() - self.began, 3)
            self.history.add(step=self.state.global_step, **entry, seconds=seconds)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:  # torch and safetensors raise their own for a full disk
            if self.is_world_process_zero():
                shutil.rmtree(folder, ignore_errors=True)
            raise _cannot_be_written(folder, error) from error


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        metrics: The content of `metrics.json`; empty if the run is not finished, and in all
            processes but the main one.
        step: Number of the last step.
        terminated: Whether SIGTERM ended it.
    """

    metrics: dict[str, Any]
    step: int
    terminated: bool


def pretrain(config: PretrainConfig, names: NameFinder | None = None) -> Outcome:
    """Pretrains a model and writes everything to `config.output`.

    Args:
        config: The settings.
        names: Finds names in texts, for salient spans.

    Raises:
        InputError: A shard, the output folder or a setting is not acceptable.
        CheckpointError: The checkpoint to start from cannot be loaded.
    """
    state = this_process()
    require_one_device_each()
    size, accumulation = divide_batch(
        config.batch_size, config.device_batch_size, state.num_processes
    )
    shards, validation_part = Shards(config.corpus / "train"), validation_shards(config.corpus)
    for part in (shards, validation_part):
        if part is not None:
            part.verify(state.process_index, state.num_processes)
    recorded = recorded_weights(config.corpus, shards.sources)
    require_recorded(config.corpus, {"train": shards, "validation": validation_part})
    config = replace(config, weights=recorded | config.weights)
    fingerprints = {"train": shards.fingerprint}
    if validation_part is not None:
        fingerprints["validation"] = validation_part.fingerprint
    examples = training_examples(config, shards, names)
    validation = None
    if validation_part is not None:
        # Masked as in T5, whatever the training masks, so that the curves of all runs compare.
        corruption = SpanCorruption(whole_characters=config.whole_characters)
        validation = Validation(
            validation_part, config.eval_examples, size, config.input_length, corruption
        )
    can_resume = can_resume_pretraining(config, fingerprints)
    set_seed(config.seed)
    model = starting_model(config)
    with state.main_process_first():  # it removes what is incomplete
        step, checkpoint = last_checkpoint(config.output) if can_resume else (0, None)
    history = None
    if state.is_main_process:
        output = make_output_folder(config.output, may_continue=config.resume)
        write_text(output / "config.yaml", to_yaml("pretrain", config))
        write_json(output / "corpus.json", {"fingerprints": fingerprints})
        history = History(output / "history.jsonl", step)
    state.wait_for_everyone()
    trainer = PretrainTrainer(
        config,
        validation,
        history,
        model=model,
        args=training_arguments(config, size, accumulation),
        train_dataset=TrainingData(examples, config.steps * config.batch_size),
    )
    steer = Steer(config)
    trainer.add_callback(steer)
    trainer.add_callback(show_progress(config, trainer, examples))
    if config.bf16 and state.is_main_process:
        warn_of_slow_bfloat16(trainer.args.device)
    before = signal.signal(signal.SIGTERM, steer.terminate)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        signal.signal(signal.SIGTERM, before)
    step = trainer.state.global_step
    metrics = {}
    if step >= config.steps:
        try:
            metrics = finish(config, trainer, examples, shards)
        except (OSError, SafetensorError) as error:
            raise _cannot_be_written(config.output, error) from error
    return Outcome(metrics, step, steer.terminated)


def training_examples(
    config: PretrainConfig, shards: Shards, names: NameFinder | None = None
) -> Examples:
    """Makes the examples that a run with these settings trains on."""

    def share(usual: float, early: float | None) -> Share:
        return Share(
            usual, usual if early is None else early, config.early_steps * config.batch_size
        )

    return Examples(
        shards,
        config.input_length,
        SpanCorruption(config.density, config.mean_span, config.whole_characters),
        config.weights,
        config.seed,
        SalientSpans(names) if config.salient else None,
        share(config.copy, config.early_copy),
        config.short,
        share(config.lookup, config.early_lookup),
    )


def learning_rate(config: PretrainConfig) -> Callable[[int], float]:
    """Returns the configured schedule, which maps a step to its share of the peak."""
    if config.schedule == "constant":
        return partial(constant, warmup=config.warmup_steps)
    if config.schedule == "inverse-sqrt":
        return partial(inverse_square_root, warmup=config.warmup_steps)
    floor = config.min_learning_rate / config.learning_rate
    return partial(
        cosine_cycles,
        steps=config.steps,
        cycles=config.cycles,
        decay=config.cycle_decay,
        floor=floor,
        warmup=config.warmup_steps,
    )


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


def show_progress(
    config: PretrainConfig, trainer: PretrainTrainer, examples: Examples
) -> ShowProgress:
    """Makes the progress bar of a run, with bytes and operations per step."""
    mean = examples.mean_bytes(config.steps * config.batch_size)
    lengths = examples.corruption.lengths(round(mean))
    flops = training_flops(trainer.model, *lengths) * config.batch_size
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    peak = 1e12 * (config.peak_tflops or 0) or measured_peak(trainer.args.device, dtype)
    return ShowProgress(
        mean * config.batch_size,
        flops,
        peak * trainer.args.world_size,
    )


def finish(
    config: PretrainConfig, trainer: PretrainTrainer, examples: Examples, shards: Shards
) -> dict[str, Any]:
    """Writes model, curves, card and metrics; returns the metrics."""
    # All processes of a sharded model have to take part.
    tensors = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return {}
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    for name, shared_name in model.get_expanded_tied_weights_keys().items():
        tensors[name] = tensors[shared_name]  # gathered separately, but to be written once
    entries = list(read_history(config.output / "history.jsonl"))
    measured = [entry["bits_per_byte"] for entry in entries if "bits_per_byte" in entry]
    shares = examples.mixture.slots / examples.mixture.slots.sum()
    total = config.steps * config.batch_size
    metrics = {
        "bits_per_byte": measured[-1] if measured else {},
        "parameters": sum(p.numel() for p in model.parameters()),
        "gbst": isinstance(model.config, GBSWT5Config),
        "steps": config.steps,
        "examples": total,
        "raw_length": examples.raw_length,
        "bytes_seen": round(total * examples.mean_bytes(total)),
        "seconds": entries[-1]["seconds"],
        "sources": {
            name: {"bytes": sum(s.bytes for s in shards.sources[name]), "share": float(share)}
            for name, share in zip(examples.sources, shares, strict=True)
        },
        "made": provenance(),
    }
    with whole_folder(config.output) as folder:
        model.save_pretrained(folder, state_dict=tensors)
        ByteTokenizer().save_pretrained(folder)
        plot_history(entries, folder / "pretraining.png")
        card = model_card(config.output.resolve().name, to_settings(config), metrics)
        write_text(folder / "README.md", card)
        write_json(folder / "metrics.json", metrics)
    return metrics


def _cannot_be_written(path: Path, error: Exception) -> InputError:
    cause = " ".join(str(error).split())
    return InputError(
        f"{path}: the model cannot be written: {cause}; make room and continue from the last"
        " checkpoint with --resume"
    )


__all__ = ["Outcome", "PretrainTrainer", "TrainingData", "pretrain", "training_examples"]
