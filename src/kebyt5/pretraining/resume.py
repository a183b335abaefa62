"""Checks whether a pretraining run can be resumed."""

import json

from kebyt5.errors import InputError
from kebyt5.pretraining.config import FREE_ON_RESUME, PretrainConfig
from kebyt5.training.settings import can_resume


def can_resume_pretraining(config: PretrainConfig, fingerprints: dict[str, str]) -> bool:
    """Whether there is a run to resume; refuses one with other settings or another corpus.

    Args:
        config: Settings of the run.
        fingerprints: Fingerprint of the shards of each split.

    Raises:
        InputError: A setting or the corpus differs; the message names it.
    """
    output = config.output
    if not can_resume("pretrain", config, FREE_ON_RESUME):
        return False
    try:
        corpus = json.loads((output / "corpus.json").read_text(encoding="utf-8"))["fingerprints"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{output}: holds no run to resume; name an empty folder") from error
    for split, fingerprint in fingerprints.items():
        if corpus.get(split) != fingerprint:
            raise InputError(
                f"{config.corpus / split}: these are not the shards that the run in {output} began"
                " with; restore those or begin a new run"
            )
    return True


__all__ = ["can_resume_pretraining"]
