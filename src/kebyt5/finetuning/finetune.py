"""One fine-tuning run, from settings to a folder with checkpoint, scores, curves and card."""

import copy
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
    set_seed,
)

from kebyt5.errors import InputError
from kebyt5.evaluation.evaluate import fit, predict, write_predictions
from kebyt5.finetuning.card import model_card
from kebyt5.finetuning.config import FinetuneConfig
from kebyt5.finetuning.data import LengthGroupedSampler, TaskDataset, collate
from kebyt5.finetuning.freezing import freeze
from kebyt5.finetuning.plots import plot_history
from kebyt5.models.loading import load
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.output import make_output_folder, provenance, whole_folder, write_json, write_text
from kebyt5.pretraining.schedule import cosine_cycles_schedule
from kebyt5.tasks import Example, Task, get_task

LORA_TARGETS = ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]


class ChooseEpoch(TrainerCallback):
    """Tells sampler and dataset the epoch; Accelerate forgets one of them in resumed epochs."""

    def __init__(self, sampler: LengthGroupedSampler, dataset: TaskDataset) -> None:
        self.listeners = (sampler, dataset)

    def on_epoch_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Chooses the epoch that the run is in, also in its midst."""
        for listener in self.listeners:
            listener.set_epoch(int((state.epoch or 0) + 1e-6))


class FinetuneTrainer(Seq2SeqTrainer):
    """A `Seq2SeqTrainer` with the order and the learning rate of `FinetuneConfig`."""

    def __init__(self, config: FinetuneConfig, max_new_bytes: int, **kwargs: Any) -> None:
        super().__init__(data_collator=collate, **kwargs)
        self.config = config
        dataset = kwargs["train_dataset"]
        self.sampler = LengthGroupedSampler(dataset.lengths, config.batch_size, config.seed)
        self.add_callback(ChooseEpoch(self.sampler, dataset))
        self.max_new_bytes = max_new_bytes

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Scores the validation sample by what the model generates."""
        return super().evaluate(*args, max_new_tokens=self.max_new_bytes + 1, **kwargs)

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """Generates for a batch and leaves the model's own generation settings as they were.

        Transformers writes its defaults into them, which every checkpoint would then carry.
        """
        generation_config = copy.deepcopy(self.model.generation_config)
        try:
            return super().prediction_step(*args, **kwargs)
        finally:
            self.model.generation_config = generation_config

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        return self.sampler

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Creates the schedule of decaying cosine cycles."""
        self.lr_scheduler: LambdaLR | None
        if self.lr_scheduler is None:
            self.lr_scheduler = cosine_cycles_schedule(
                optimizer or self.optimizer,
                num_training_steps,
                self.config.cycles,
                self.config.cycle_decay,
                self.config.min_learning_rate / self.config.learning_rate,
                self.config.warmup_steps,
            )
        return self.lr_scheduler


def finetune(config: FinetuneConfig) -> dict[str, Any]:
    """Fine-tunes a checkpoint on a task and writes everything to `config.output`.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: A data file, the output folder or a setting is not what it has to be.
        CheckpointError: The checkpoint cannot be loaded.
    """
    task = get_task(config.task)
    train, dev = list(task.read(config.train)), list(task.read(config.dev))
    train = train[: config.limit]
    for example in dev if config.strict else ():
        place = example.place or example.id
        fit(task.input_text(example), config.max_input_bytes, True, place)
    device_batch_size(config)
    check_resume(config)
    dataset = TaskDataset(
        task, train, config.max_input_bytes, config.max_target_bytes, config.strict, config.seed
    )
    set_seed(config.seed)
    model = prepare_model(config)
    if PartialState().is_main_process:
        output = make_output_folder(config.output, may_continue=config.resume)
        write_text(output / "config.yaml", resolved_config(config))
    trainer = make_trainer(config, task, model, dataset, dev)
    seconds = time.monotonic()
    trainer.train(resume_from_checkpoint=last_checkpoint(config.output) if config.resume else None)
    seconds = time.monotonic() - seconds

    if not trainer.is_world_process_zero():
        return {}
    parameters = [(p.numel(), p.requires_grad) for p in model.parameters()]
    training = {
        "examples": len(train),
        "truncated": dataset.truncated,
        "steps": trainer.state.global_step,
        "seconds_since_start_or_resume": round(seconds, 1),
        "best_checkpoint_step": trainer.state.best_global_step,
        "parameters": sum(size for size, _ in parameters),
        "trained_parameters": sum(size for size, is_trained in parameters if is_trained),
    }
    return finish(config, task, trainer, train, dev, training)


def prepare_model(config: FinetuneConfig) -> PreTrainedModel:
    """Loads the checkpoint with its frozen parts, adapters and dropout as configured."""
    model = load(config.checkpoint)
    if config.gradient_checkpointing:
        # Renamed in the course of Transformers 5.
        old_name = model.gradient_checkpointing_enable
        getattr(model, "activation_checkpointing_enable", old_name)({"use_reentrant": False})
    if config.dropout is not None:
        model.config.dropout_rate = config.dropout
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = config.dropout
            elif hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = config.dropout  # the attention's, applied as a function
    if config.lora is None:
        freeze(model, config.freeze)
        return model.train()
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=config.lora,
        lora_alpha=2 * config.lora,
        target_modules=LORA_TARGETS,
    )
    return get_peft_model(model, lora).train()


def make_trainer(
    config: FinetuneConfig,
    task: Task,
    model: PreTrainedModel,
    dataset: TaskDataset,
    dev: Sequence[Example],
) -> FinetuneTrainer:
    """Sets up the trainer; validation examples are sorted so that batches are of like length."""
    limits = (config.max_input_bytes, config.max_target_bytes)
    sample = sorted(dev[: config.eval_examples], key=lambda e: len(task.input_text(e)))
    tokenizer = ByteTokenizer()

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        rows = [[i for i in row if i >= 0] for row in prediction.predictions.tolist()]
        texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        return task.score(sample, texts)

    size, accumulation = device_batch_size(config)
    when = "steps" if config.eval_steps else "epoch"
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(config.output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=size,
        per_device_eval_batch_size=size,
        gradient_accumulation_steps=accumulation,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adafactor" if config.optimizer == "adafactor" else "adamw_torch_fused",
        bf16=config.bf16,
        use_cpu=not torch.accelerator.is_available(),
        eval_strategy=when,
        eval_steps=config.eval_steps,
        save_strategy=when,
        save_steps=config.eval_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=task.main_score,
        greater_is_better=True,
        predict_with_generate=True,
        logging_steps=10,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=config.seed,
        disable_tqdm=False,
    )
    return FinetuneTrainer(
        config,
        max_new_bytes=max(map(task.max_target_bytes, sample)),
        model=model,
        args=arguments,
        train_dataset=dataset,
        eval_dataset=TaskDataset(task, sample, *limits, training=False),
        compute_metrics=compute_metrics,
    )


def finish(
    config: FinetuneConfig,
    task: Task,
    trainer: FinetuneTrainer,
    train: Sequence[Example],
    dev: Sequence[Example],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Scores the best checkpoint on all validation data and writes what describes the run."""
    predictions = predict(
        trainer.model,
        task,
        dev,
        config.max_input_bytes,
        batch_size=config.device_batch_size,
        progress="Predicting validation data",
    )
    baseline = task.baseline(train, dev)
    metrics = {
        "task": task.name,
        "scores": predictions.score(task),
        "baseline": task.score(dev, baseline) if baseline else None,
        "examples": len(dev),
        "truncated": predictions.truncated,
        "training": training,
        "made": provenance(),
    }
    settings = yaml.safe_load(resolved_config(config))["finetune"]
    with whole_folder(config.output) as folder:
        trainer.model.save_pretrained(folder)
        ByteTokenizer().save_pretrained(folder)
        write_predictions(folder / "predictions.jsonl", task, predictions)
        plot_history(trainer.state.log_history, task.main_score, folder / "training.png")
        write_text(folder / "README.md", model_card(task, settings, metrics))
        write_json(folder / "metrics.json", metrics)
    return metrics


def resolved_config(config: FinetuneConfig) -> str:
    """The settings as YAML, in the form that `--config` takes."""
    values = asdict(config) | {"resume": False}
    values = {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}
    return yaml.safe_dump({"finetune": values}, allow_unicode=True, sort_keys=False)


def device_batch_size(config: FinetuneConfig) -> tuple[int, int]:
    """Divides a batch: examples that one device computes at a time, and how often it does.

    Raises:
        InputError: The batch cannot be divided among the devices.
    """
    world = PartialState().num_processes
    if world == 1:
        world = max(1, torch.cuda.device_count())
    share, rest = divmod(config.batch_size, world)
    if rest or not share:
        raise InputError(f"--batch-size {config.batch_size}: not a multiple of {world} devices")
    largest = min(share, config.device_batch_size)
    size = next(size for size in range(largest, 0, -1) if share % size == 0)
    return size, share // size


def check_resume(config: FinetuneConfig) -> None:
    """Refuses to go on in a folder that holds no run, or a run with other settings.

    Raises:
        InputError: Names what differs.
    """
    if not config.resume or not config.output.is_dir() or not any(config.output.iterdir()):
        return
    settings = config.output / "config.yaml"
    if not settings.is_file():
        raise InputError(f"{config.output}: holds no run to resume; name an empty folder")
    before = yaml.safe_load(settings.read_text(encoding="utf-8"))["finetune"]
    now = yaml.safe_load(resolved_config(config))["finetune"]
    changed = [name for name in now if now[name] != before.get(name) and name != "output"]
    if changed:
        raise InputError(
            f"{config.output}: --resume with other settings than the run began with:"
            f" {', '.join(changed)}; begin a new run for these"
        )


def last_checkpoint(output: Path) -> str | None:
    """The newest complete checkpoint in a run's folder; incomplete ones are removed.

    The trainer writes its state last, so a checkpoint without it was cut off by a kill.
    """
    complete = []
    for folder in output.glob("checkpoint-*"):
        if not (folder.is_dir() and folder.name.removeprefix("checkpoint-").isdecimal()):
            continue
        try:
            state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            complete.append((state["global_step"], str(folder)))
        except (OSError, ValueError, LookupError, TypeError):
            if PartialState().is_main_process:
                shutil.rmtree(folder)
    return max(complete, default=(0, None))[1]


__all__ = ["FinetuneTrainer", "finetune"]
