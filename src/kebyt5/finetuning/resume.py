"""What a resumed fine-tuning run goes on from: the same settings and data, and a checkpoint."""

import hashlib
from pathlib import Path
from typing import Any

from kebyt5.errors import InputError
from kebyt5.finetuning.config import FREE_ON_RESUME, FinetuneConfig
from kebyt5.output import write_json
from kebyt5.tasks.files import read_json
from kebyt5.training.checkpoints import last_checkpoint
from kebyt5.training.processes import this_process
from kebyt5.training.settings import require_same_settings


def require_unchanged(config: FinetuneConfig) -> None:
    """Refuses to resume a run whose settings or data have changed since it began.

    Raises:
        InputError: A setting or a data file differs; the message names it.
    """
    require_same_settings("finetune", config, FREE_ON_RESUME)
    path = config.output / "data.json"
    before = read_json(path) if path.exists() else {}
    for name, fingerprint in fingerprints(config).items():
        if before.get(name, fingerprint) != fingerprint:
            raise InputError(
                f"{name}: not what it was when the run in {config.output} began; restore it or"
                " begin a new run"
            )


def fingerprints(config: FinetuneConfig) -> dict[str, str]:
    """Computes the SHA-256 of every data file of a run, by its name."""
    found = {}
    for path in [*config.train, *config.dev]:
        if path.is_file():  # some data sets are folders or names on the hub
            with open(path, "rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def checkpoint_to_resume(config: FinetuneConfig) -> Path | None:
    """Returns the newest checkpoint of the run to resume; None to begin anew.

    Raises:
        InputError: A checkpoint cannot be read, or an incomplete one cannot be removed.
    """
    if not config.resume:
        return None
    with this_process().main_process_first():  # it repairs or removes what the others read next
        _, checkpoint = last_checkpoint(config.output)
        if checkpoint and this_process().is_main_process:
            relocate_best_checkpoint(checkpoint)
    return checkpoint


def relocate_best_checkpoint(checkpoint: Path) -> None:
    """Rewrites the best checkpoint's path, since the run may have been moved.

    Forgets the best checkpoint if it is gone.
    """
    path = checkpoint / "trainer_state.json"
    state = read_json(path)
    if not state.get("best_model_checkpoint"):
        return
    best = checkpoint.parent / Path(state["best_model_checkpoint"]).name
    changes: dict[str, Any] = {"best_model_checkpoint": str(best)}
    if not best.is_dir():
        changes = dict.fromkeys(("best_model_checkpoint", "best_metric", "best_global_step"))
    if state != state | changes:
        write_json(path, state | changes)
