"""What the pages of all benchmarks share: tables, and how they were made."""

import contextlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

from kebyt5.markdown import row
from kebyt5.models.native import library
from kebyt5.provenance import provenance

GIB = 2**30


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Formats a Markdown table as lines."""
    return [row(cells) for cells in (head, ["---"] * len(head), *rows)]


def made_with() -> str:
    """Formats the command, commit, machine, kernels and versions of a result as one line."""
    made, opened = provenance(), library()
    machine, versions = made["machine"], made["versions"]
    kernels = Path(opened._name).stem if opened else "no kernels"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        versions["ctranslate2"] = importlib.metadata.version("ctranslate2")
    return (
        f"`{made['command']}`, commit {made['commit']}, {made['date']}, {machine['processor']},"
        f" {machine['cores']} cores, {kernels}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
    )
