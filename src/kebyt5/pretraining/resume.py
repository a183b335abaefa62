"""Refuses to resume a pretraining run that would not go on as it began."""

import json
from pathlib import Path

from kebyt5.errors import InputError
from kebyt5.pretraining.config import FREE_ON_RESUME, PretrainConfig
from kebyt5.training.checkpoints import is_sharded
from kebyt5.training.settings import require_same_settings


def require_unchanged(config: PretrainConfig, fingerprints: dict[str, str]) -> None:
    """Refuses to resume a run whose settings or corpus have changed since it began.

    Args:
        config: Settings of the run.
        fingerprints: Fingerprint of the shards of each split.

    Raises:
        InputError: A setting or the corpus differs; the message names it.
    """
    require_same_settings("pretrain", config, FREE_ON_RESUME)
    output = config.output
    try:
        corpus = json.loads((output / "corpus.json").read_text(encoding="utf-8"))["fingerprints"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{output}: holds no run to resume; name an empty folder") from error
    for split in {**corpus, **fingerprints}:
        if corpus.get(split) != fingerprints.get(split):
            raise InputError(
                f"{config.corpus / split}: these are not the shards that the run in {output} began"
                " with; restore those or begin a new run"
            )


def require_same_sharding(checkpoint: Path | None, is_sharding: bool) -> None:
    """Refuses to resume without FSDP or DeepSpeed what they wrote, or the other way round.

    Args:
        checkpoint: The checkpoint to continue from; None to begin anew.
        is_sharding: Whether one of them is in use now.

    Raises:
        InputError: The run was launched otherwise when it wrote the checkpoint.
    """
    if checkpoint is not None and is_sharded(checkpoint) != is_sharding:
        began = "without FSDP and DeepSpeed" if is_sharding else "by FSDP or DeepSpeed"
        raise InputError(f"{checkpoint}: written {began}; launch the run as it began")
