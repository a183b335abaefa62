"""Runs pretraining, from shards to a folder with checkpoint, curves and card."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import PreTrainedModel, set_seed

from kebyt5.corpus.shards import Shards
from kebyt5.errors import InputError
from kebyt5.models.configuration_gbswt5 import GBSWT5Config
from kebyt5.models.loading import load, save_checkpoint
from kebyt5.models.products import flops, training_products
from kebyt5.output import whole_folder, write_json, write_text
from kebyt5.pretraining.card import model_card
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.pretraining.corpus import Corpus, open_corpus
from kebyt5.pretraining.examples import Examples, Share
from kebyt5.pretraining.history import History, read_history
from kebyt5.pretraining.names import NameTagger
from kebyt5.pretraining.plots import plot_history
from kebyt5.pretraining.progress import ShowThroughput
from kebyt5.pretraining.resume import require_same_sharding, require_unchanged
from kebyt5.pretraining.salient import SalientSpans
from kebyt5.pretraining.spans import SpanCorruption
from kebyt5.pretraining.start import resumed_model, starting_model
from kebyt5.pretraining.stopping import Steer
from kebyt5.pretraining.trainer import (
    PretrainTrainer,
    TrainingData,
    training_arguments,
)
from kebyt5.pretraining.validation import Validation
from kebyt5.provenance import provenance
from kebyt5.training.checkpoints import is_sharded, last_checkpoint
from kebyt5.training.processes import (
    divide_batch,
    own_folder,
    require_one_device_each,
    this_process,
)
from kebyt5.training.settings import is_resumed, to_settings, to_yaml
from kebyt5.training.speed import measured_peak


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        metrics: The content of `metrics.json`; empty if the run is not finished, and in all
            processes but the main one.
        step: Number of the last step.
        stopped_by: Number of the signal that stopped it, SIGTERM or SIGINT; 0 if none did.
    """

    metrics: dict[str, Any]
    step: int
    stopped_by: int


def pretrain(config: PretrainConfig) -> Outcome:
    """Pretrains a model and writes everything to `config.output`.

    Raises:
        InputError: A shard, the output folder or a setting is not acceptable.
        CheckpointError: The checkpoint to start from, or that which finds names, cannot be loaded.
    """
    state = this_process()
    require_one_device_each()
    sizes = divide_batch(config.batch_size, config.device_batch_size, state.num_processes)
    corpus = open_corpus(config.corpus)
    config = replace(config, weights={**corpus.weights, **config.weights})
    examples = training_examples(config, corpus.train)
    if is_resumed(config):
        require_unchanged(config, corpus.fingerprints)
    set_seed(config.seed)
    model = None if is_resumed(config) else starting_model(config)
    with own_folder(config.output, config.resume):
        return _run(config, corpus, examples, model, sizes)


def _run(
    config: PretrainConfig,
    corpus: Corpus,
    examples: Examples,
    model: PreTrainedModel | None,
    sizes: tuple[int, int],
) -> Outcome:
    """Trains in an output folder that is this run's own.

    Args:
        config: The settings.
        corpus: The corpus.
        examples: Examples of it.
        model: The model to train; None to resume, from a checkpoint if there is one.
        sizes: Examples that a device computes at a time, and how many such batches make a step.
    """
    state, (size, accumulation) = this_process(), sizes
    with state.main_process_first():  # it removes what is incomplete
        step, checkpoint = last_checkpoint(config.output) if is_resumed(config) else (0, None)
    history = _begin_output(config, corpus, step) if state.is_main_process else None
    state.wait_for_everyone()
    _require_agreement(config, step, corpus)
    if model is None:
        if checkpoint is None or is_sharded(checkpoint):
            model = starting_model(config)
        else:
            model = resumed_model(checkpoint)
    trainer = PretrainTrainer(
        config,
        _validation(config, corpus, size),
        history,
        model=model,
        args=training_arguments(config, size, accumulation),
        train_dataset=TrainingData(examples, config.steps * config.batch_size),
    )
    require_same_sharding(checkpoint, trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
    trainer.add_callback(show_progress(config, trainer, examples))
    stopped_by = _train(config, trainer, checkpoint)
    step, metrics = trainer.state.global_step, {}
    if step >= config.steps:
        try:
            metrics = finish(config, trainer, examples, corpus.train)
        except InputError as error:
            raise InputError(
                f"{error}; then continue from the last checkpoint with --resume"
            ) from error
    return Outcome(metrics, step, stopped_by)


def _require_agreement(config: PretrainConfig, step: int, corpus: Corpus) -> None:
    """Refuses processes that would begin at other steps, or read other shards, than the first one.

    Raises:
        InputError: They do, as on nodes that do not share the folders.
    """
    # The first process has written the file.
    is_shared = (config.output / "config.yaml").is_file()
    starts = gather_object([(step, corpus.fingerprints, is_shared)])
    if any(start != starts[0] for start in starts):
        raise InputError(
            f"the processes of this run find different checkpoints in {config.output} or shards in"
            f" {config.corpus}; give folders that all nodes share"
        )


def _begin_output(config: PretrainConfig, corpus: Corpus, step: int) -> History:
    """Records what the run is made of, and opens its history."""
    output = config.output
    write_text(output / "config.yaml", to_yaml("pretrain", config))
    write_json(output / "corpus.json", {"fingerprints": corpus.fingerprints})
    return History(output / "history.jsonl", step)


def _validation(config: PretrainConfig, corpus: Corpus, batch_size: int) -> Validation | None:
    """Prepares the validation; it masks as T5 does, so that the curves of all runs compare."""
    if corpus.validation is None:
        return None
    corruption = SpanCorruption(whole_characters=config.whole_characters)
    return Validation(
        corpus.validation, config.eval_examples, batch_size, config.input_length, corruption
    )


def _train(config: PretrainConfig, trainer: PretrainTrainer, checkpoint: Path | None) -> int:
    """Trains until the last step, the time limit or a signal; returns the signal's number or 0."""
    steer = Steer(config, trainer.evaluate)
    trainer.add_callback(steer)
    with steer.handling_signals():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return steer.stopped_by


def training_examples(config: PretrainConfig, shards: Shards) -> Examples:
    """Makes the examples that a run with these settings trains on.

    Raises:
        InputError: The input length or a weight is not acceptable.
        CheckpointError: The checkpoint that finds names cannot be loaded.
    """
    names = NameTagger(load(config.names)) if config.names else None

    def share(usual: float, early: float | None) -> Share:
        return Share(
            usual, usual if early is None else early, config.early_steps * config.batch_size
        )

    return Examples(
        shards,
        config.input_length,
        SpanCorruption(config.density, config.mean_span, config.whole_characters),
        weights=config.weights,
        seed=config.seed,
        salient=SalientSpans(names) if config.salient else None,
        copies=share(config.copy, config.early_copy),
        short=config.short,
        lookups=share(config.lookup, config.early_lookup),
    )


def show_progress(
    config: PretrainConfig, trainer: PretrainTrainer, examples: Examples
) -> ShowThroughput:
    """Makes the progress bar of a run, with bytes and operations per step."""
    mean = examples.mean_bytes(config.steps * config.batch_size)
    lengths = examples.corruption.lengths(round(mean))
    products = training_products(trainer.model.config, config.batch_size, *lengths)
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    peak = 1e12 * (config.peak_tflops or 0) or measured_peak(trainer.args.device, dtype)
    return ShowThroughput(
        mean * config.batch_size,
        flops(products, backward=True),
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
        save_checkpoint(model, folder, state_dict=tensors)
        plot_history(entries, folder / "pretraining.png")
        card = model_card(config.output.resolve().name, to_settings(config), metrics)
        write_text(folder / "README.md", card)
        write_json(folder / "metrics.json", metrics)
    return metrics


__all__ = ["Outcome", "pretrain", "training_examples"]
