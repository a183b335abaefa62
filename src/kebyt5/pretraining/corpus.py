"""The corpus that a run reads: its shards, as its record describes them."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kebyt5.corpus.shards import CORPUS_MANIFEST, Shards
from kebyt5.errors import InputError
from kebyt5.pretraining.validation import validation_shards
from kebyt5.training.processes import this_process


@dataclass(frozen=True)
class Corpus:
    """A corpus whose shards are whole and belong together.

    Attributes:
        train: Shards to train on.
        validation: Shards to measure on; None if there are none.
        weights: Weights by source that its recipe gives; empty without a recipe.
    """

    train: Shards
    validation: Shards | None
    weights: Mapping[str, float]

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of the shards of each split, by which a resumed run knows them."""
        found = {"train": self.train.fingerprint}
        if self.validation is not None:
            found["validation"] = self.validation.fingerprint
        return found


def open_corpus(folder: Path) -> Corpus:
    """Opens the corpus in a folder; the processes of a run share the work of checking it.

    Raises:
        InputError: A shard is damaged or missing, or the corpus's record cannot be read.
    """
    train, validation = Shards(folder / "train"), validation_shards(folder)
    state = this_process()
    for part in (train, validation):
        if part is not None:
            part.verify(state.process_index, state.num_processes)
    weights = recorded_weights(folder, train.sources)
    require_recorded(folder, {"train": train, "validation": validation})
    return Corpus(train, validation, weights)


def recorded_weights(corpus: Path, sources: Collection[str]) -> dict[str, float]:
    """Reads the weights that the recipe of a corpus gives its sources.

    Args:
        corpus: Folder of the corpus.
        sources: Sources that have shards; others in the recipe have lost all their documents.

    Returns:
        Weights by source; none if the shards were not made by a recipe.

    Raises:
        InputError: The corpus's record cannot be read.
    """
    manifest = _manifest(corpus)
    if manifest is None:
        return {}
    try:
        return {name: float(manifest["weights"][name]) for name in sources}
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{corpus / CORPUS_MANIFEST}: no record of a corpus with the weights of"
            f" {', '.join(sources)}; run `kebyt5 corpus build` again"
        ) from error


def require_recorded(corpus: Path, parts: Mapping[str, Shards | None]) -> None:
    """Requires the number of documents that the record of a corpus states.

    Args:
        corpus: Folder of the corpus; shards that were not made by a recipe have no record.
        parts: Shards of each split; None if there are none.

    Raises:
        InputError: Shards are missing, or are not those of this corpus.
    """
    splits = (_manifest(corpus) or {}).get("splits", {})
    for split, shards in parts.items():
        for name, recorded in splits.get(split, {}).items():
            found = sum(shard.documents for shard in shards.sources.get(name, [])) if shards else 0
            if found != recorded["documents"]:
                raise InputError(
                    f"{corpus / split / name}: {found:,} documents, but {CORPUS_MANIFEST} has"
                    f" {recorded['documents']:,}; copy the corpus once more, or build it anew"
                )


def _manifest(corpus: Path) -> dict[str, Any] | None:
    """The record of a corpus; None where shards were made by hand."""
    path = corpus / CORPUS_MANIFEST
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError("not an object")
        for sources in found.get("splits", {}).values():
            for source in sources.values():
                int(source["documents"])
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise InputError(
            f"{path}: no record of a corpus: {error}; run `kebyt5 corpus build` again"
        ) from error
    return found


__all__ = ["Corpus", "open_corpus", "recorded_weights", "require_recorded"]
