"""Where a stopped run goes on."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

import yaml

from kebyt5.errors import InputError
from kebyt5.pretraining.config import FREE_ON_RESUME, PretrainConfig
from kebyt5.pretraining.devices import this_process


def last_checkpoint(output: Path) -> tuple[int, Path | None]:
    """Step and folder of the newest complete checkpoint; incomplete ones are removed.

    The trainer writes its state last, so a checkpoint without it was cut off by a kill.
    """
    complete: list[tuple[int, Path]] = []
    for folder in output.glob("checkpoint-*"):
        if not (folder.is_dir() and folder.name.removeprefix("checkpoint-").isdecimal()):
            continue
        try:
            state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
            complete.append((state["global_step"], folder))
        except (OSError, ValueError, LookupError, TypeError):
            if this_process().is_main_process:
                shutil.rmtree(folder)
    return max(complete, default=(0, None))


BEGINNING = ("config.yaml", "corpus.json")
"""What a run writes before anything else."""


def check_resume(config: PretrainConfig, fingerprints: dict[str, str]) -> bool:
    """Whether there is a run to go on with; refuses one with other settings or another corpus.

    A run of which nothing but its beginning or a part of that is there, because the disk was full
    or it was killed, begins anew.

    Raises:
        InputError: Names what differs.
    """
    output = config.output
    if not config.resume or not output.is_dir():
        return False
    if all(path.name in BEGINNING or path.name.startswith(".") for path in output.iterdir()):
        return False
    try:
        settings, shards = ((output / name).read_text(encoding="utf-8") for name in BEGINNING)
        before, corpus = yaml.safe_load(settings)["pretrain"], json.loads(shards)
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{output}: holds no run to resume; name an empty folder") from error
    now = yaml.safe_load(config.resolved())["pretrain"]
    # What there was no setting for when the run began was as it is by default.
    before = {field.name: field.default for field in fields(PretrainConfig)} | before
    changed = [n for n in now if now[n] != before[n] and n not in FREE_ON_RESUME]
    if changed:
        raise InputError(
            f"{output}: --resume with other settings than the run began with:"
            f" {', '.join(changed)}; begin a new run for these"
        )
    for split, fingerprint in fingerprints.items():
        if corpus["fingerprints"].get(split) != fingerprint:
            raise InputError(
                f"{config.corpus / split}: these are not the shards that the run in {output} began"
                " with; bring those back or begin a new run"
            )
    return True


__all__ = ["check_resume", "last_checkpoint"]
