"""The corpus that a run reads: its shards, as its manifest describes them."""

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
        InputError: A shard is damaged or missing, or the corpus's manifest cannot be read.
    """
    train, validation = Shards(folder / "train"), validation_shards(folder)
    state = this_process()
    for part in (train, validation):
        if part is not None:
            part.verify(state.process_index, state.num_processes)
    path = folder / CORPUS_MANIFEST
    if not path.exists():  # shards made by hand
        return Corpus(train, validation, {})
    manifest = read_manifest(path)
    weights = weights_of(manifest, path, train.sources)
    require_documents(manifest, path, {"train": train, "validation": validation})
    return Corpus(train, validation, weights)


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads the manifest of a corpus.

    Raises:
        InputError: It cannot be read, or its numbers of documents are none.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise TypeError("not an object")
        for sources in manifest.get("splits", {}).values():
            for source in sources.values():
                int(source["documents"])
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise InputError(
            f"{path}: no manifest of a corpus: {error}; run `kebyt5 corpus build` again"
        ) from error
    return manifest


def weights_of(
    manifest: Mapping[str, Any], path: Path, sources: Collection[str]
) -> dict[str, float]:
    """Returns the weights that the recipe of a corpus gives its sources, by their names.

    Args:
        manifest: The manifest of the corpus.
        path: Where the manifest is, for messages.
        sources: Sources that have shards; others in the recipe have lost all their documents.

    Raises:
        InputError: The manifest lacks the weight of a source.
    """
    try:
        return {name: float(manifest["weights"][name]) for name in sources}
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no manifest of a corpus with the weights of {', '.join(sources)}; run"
            " `kebyt5 corpus build` again"
        ) from error


def require_documents(
    manifest: Mapping[str, Any], path: Path, parts: Mapping[str, Shards | None]
) -> None:
    """Requires the number of documents that the manifest of a corpus states.

    Args:
        manifest: The manifest of the corpus.
        path: Where the manifest is, for messages.
        parts: Shards of each split; None if there are none.

    Raises:
        InputError: Shards are missing, or are not those of this corpus.
    """
    splits = manifest.get("splits", {})
    for split, shards in parts.items():
        for name, stated in splits.get(split, {}).items():
            found = sum(shard.documents for shard in shards.sources.get(name, [])) if shards else 0
            if found != stated["documents"]:
                raise InputError(
                    f"{path.parent / split / name}: {found:,} documents, but {path.name} has"
                    f" {stated['documents']:,}; copy the corpus once more, or build it anew"
                )
