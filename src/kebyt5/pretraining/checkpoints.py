"""Where a stopped run goes on."""

import json
import shutil
from pathlib import Path

from kebyt5.errors import InputError
from kebyt5.pretraining.config import FREE_ON_RESUME, PretrainConfig
from kebyt5.pretraining.devices import this_process
from kebyt5.pretraining.settings import resumes


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


def check_resume(config: PretrainConfig, fingerprints: dict[str, str]) -> bool:
    """Whether there is a run to go on with; refuses one with other settings or another corpus.

    Raises:
        InputError: Names what differs.
    """
    output = config.output
    if not resumes("pretrain", config, FREE_ON_RESUME):
        return False
    try:
        corpus = json.loads((output / "corpus.json").read_text(encoding="utf-8"))["fingerprints"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{output}: holds no run to resume; name an empty folder") from error
    for split, fingerprint in fingerprints.items():
        if corpus.get(split) != fingerprint:
            raise InputError(
                f"{config.corpus / split}: these are not the shards that the run in {output} began"
                " with; bring those back or begin a new run"
            )
    return True


__all__ = ["check_resume", "last_checkpoint"]
