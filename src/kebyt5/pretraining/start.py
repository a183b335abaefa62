"""Makes the model that a pretraining run trains, at its start or from a checkpoint of its own."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.models.conversion import add_gbst
from kebyt5.models.loading import load_float
from kebyt5.models.presets import PRESETS
from kebyt5.pretraining.config import PretrainConfig
from kebyt5.training.initialization import random_model, set_dropout


def starting_model(config: PretrainConfig) -> PreTrainedModel:
    """Makes the model to start with: random weights, a checkpoint, or one with new GBST.

    Raises:
        InputError: GBST is configured, but the model gets no new GBST, or its settings contradict
            each other.
        CheckpointError: The checkpoint cannot be loaded.
    """
    has_new_gbst = config.gbst or "downsample_factor" in PRESETS.get(config.model, ())
    if not (config.blocks is None and config.downsample is None) and not has_new_gbst:
        raise InputError(f"--blocks, --downsample: {config.model} gets no new GBST; give --gbst")
    folder = Path(config.model)
    if config.model in PRESETS and folder != config.output and (folder / "config.json").exists():
        raise InputError(
            f"--model {config.model}: a checkpoint here, but also a shape with random weights; for"
            f" the checkpoint give ./{config.model}, else name the folder otherwise"
        )
    model = None if config.model in PRESETS else load_float(config.model)
    try:
        if model is None:
            changes = {} if config.gbst else _gbst_changes(config)
            model = random_model(config.model, config.seed, **changes)
        if config.gbst:
            model = add_gbst(model, config.blocks, config.downsample, config.seed)
    except ValueError as error:  # blocks that contradict the factor, or GBST on top of GBST
        raise InputError(f"{config.model}: {error}") from error
    model.config.z_loss = config.z_loss
    return _without_dropout(model)


def resumed_model(checkpoint: Path) -> PreTrainedModel:
    """Loads the model of a run's own checkpoint; what the run started with may be gone.

    Args:
        checkpoint: The checkpoint, which holds the weights as a whole.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
    """
    return _without_dropout(load_float(checkpoint))


def _without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    set_dropout(model, 0.0)  # the configuration keeps its rate, for fine-tuning
    return model.train()


def _gbst_changes(config: PretrainConfig) -> dict[str, Any]:
    """The changes of the settings to a shape with GBST."""
    changes: dict[str, Any] = {}
    if config.blocks is not None:
        changes |= {"subword_blocks": config.blocks, "max_subword_block_size": None}
    if config.downsample is not None:
        changes["downsample_factor"] = config.downsample
    return changes
