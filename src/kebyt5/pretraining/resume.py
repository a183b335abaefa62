"""Checks whether a pretraining run can be resumed."""

import json

from kebyt5.errors import InputError
from kebyt5.pretraining.config import FREE_ON_RESUME, PretrainConfig
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


__all__ = ["require_unchanged"]
