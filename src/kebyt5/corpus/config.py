"""The recipe of a corpus: a YAML file, read into these dataclasses.

The docstring below a field describes it; docs/corpus.md shows a whole file.
"""

import math
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from kebyt5.corpus.readers import READERS, Reader, get_reader
from kebyt5.errors import InputError
from kebyt5.settings import STRICT, validated
from kebyt5.yaml_files import load_yaml


@dataclass(kw_only=True)
class Cleaning:
    """How every text is cleaned."""

    __pydantic_config__ = STRICT

    nfc: bool = True
    """Compose jamo and accents (Unicode normalization form NFC)."""

    blanks: bool = True
    """Squeeze runs of blanks within a line; indentation stays."""

    repeated_lines: bool = True
    """Keep only one of consecutive equal lines."""


@dataclass(kw_only=True)
class Filters:
    """Which documents are dropped; the first reason that applies is counted."""

    __pydantic_config__ = STRICT

    min_characters: int = 10
    """Shorter documents are dropped."""

    max_characters: int | None = None
    """Longer documents are dropped."""

    min_hangul: float = 0.3
    """Least share of Hangul in the characters that are not blanks."""

    max_repeated_lines: float = 0.5
    """Largest share of lines that are equal to an earlier line of the document."""


@dataclass(kw_only=True)
class Dedup:
    """Which duplicates are dropped."""

    __pydantic_config__ = STRICT

    exact: bool = True
    """Drop documents with the same text; the source listed first keeps it."""

    minhash: bool = True
    """Drop documents with nearly the same text; one of them stays."""

    ngram: int = 8
    """Characters in the runs whose sets MinHash compares, not counting blanks and punctuation."""

    buckets: int = 14
    """Signatures of a document; two documents with one in common are duplicates."""

    hashes: int = 8
    """Hashes in a signature. Pairs of a similarity s are found with a probability of
    1 - (1 - s ^ hashes) ^ buckets, by default one half at 0.68."""


@dataclass(kw_only=True)
class Executor:
    """Where the pipeline runs."""

    __pydantic_config__ = STRICT

    kind: Literal["local", "slurm", "ray"] = "local"
    """Processes on this machine, or jobs on a cluster that sees the same files."""

    workers: int | None = None
    """Tasks that run at the same time; by default one per core, on a cluster all of them."""

    tasks: int | None = None
    """Tasks among which the files are divided, which affects the result; by default one per file,
    at most 256."""

    memory: float = 2.0
    """GB of memory per task on Slurm or Ray."""

    partition: str | None = None
    """Slurm: partition in which jobs run."""

    time: str = "24:00:00"
    """Slurm: time limit of a job."""

    setup: str | None = None
    """Slurm: command that jobs run first, such as one that activates an environment."""

    sbatch: dict[str, str] = field(default_factory=dict)
    """Slurm: further options of sbatch."""

    address: str | None = None
    """Ray: address of the cluster; by default that in RAY_ADDRESS, or else this machine."""


@dataclass(kw_only=True)
class Source:
    """A source of documents. In the recipe its reader's options are at the same level."""

    __pydantic_config__ = STRICT

    name: str
    """Name of its folder in the corpus, without dots."""

    reader: Reader
    """How its files are read: `reader: NAME` with the reader's options."""

    paths: list[str]
    """Files, folders or patterns; a single one need not be in a list."""

    weight: float = 1.0
    """How often pretraining draws a byte of this source, relative to a source of weight 1."""

    replace: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of a regular expression and its replacement, applied before cleaning."""


@dataclass(kw_only=True)
class CorpusConfig:
    """The recipe of a corpus."""

    __pydantic_config__ = STRICT

    output: Path
    """Folder of the corpus: new, empty, or with an unfinished build of the same recipe."""

    sources: list[Source]
    """Where documents come from."""

    cleaning: Cleaning = field(default_factory=Cleaning)
    """How every text is cleaned."""

    filters: Filters = field(default_factory=Filters)
    """Which documents are dropped."""

    dedup: Dedup = field(default_factory=Dedup)
    """Which duplicates are dropped."""

    validation: float = 0.01
    """Share of the documents for validation, chosen by the hash of their text."""

    shard_bytes: int = 256 << 20
    """Largest size of a shard, at which the next one begins."""

    strict: bool = False
    """Stop at input that cannot be read, instead of counting it as rejected."""

    rejects: bool = False
    """Write dropped documents, with the reason, to `rejects/` as JSON Lines."""

    executor: Executor = field(default_factory=Executor)
    """Where the pipeline runs."""


def load_config(
    path: str | os.PathLike[str], output: Path | None = None, **executor: Any
) -> CorpusConfig:
    """Reads a recipe, in which `${NAME}` is replaced by the environment variable NAME.

    Args:
        path: The recipe.
        output: Folder of the corpus, in place of the recipe's.
        **executor: Options of `Executor` in place of the recipe's; None for the recipe's own.

    Raises:
        InputError: The file cannot be read, or a value is invalid.
    """
    path = Path(path)
    content = load_yaml(path, "a recipe", variables=True)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a recipe; expected `output:` and `sources:`")
    sources = content.get("sources")
    if not isinstance(sources, list) or not sources:
        raise InputError(f"{path}: there is no list of `sources`; expected at least one")
    content["sources"] = [
        _source(source, f"{path}: sources[{number}]") for number, source in enumerate(sources)
    ]
    if output is not None:
        content["output"] = output
    given = {name: value for name, value in executor.items() if value is not None}
    if given and isinstance(content.setdefault("executor", {}), dict):
        content["executor"] |= given
    config: CorpusConfig = validated(CorpusConfig, content, str(path))
    _check(config, path)
    return config


def dump_config(config: CorpusConfig) -> dict[str, Any]:
    """Converts a config to a recipe for `load_config`, including all defaults."""
    content = asdict(config) | {"output": str(config.output), "sources": []}
    names = {reader: name for name, reader in reversed(READERS.items())}
    for source in config.sources:
        common = {item.name: getattr(source, item.name) for item in fields(source)}
        common |= {"reader": names[type(source.reader)], "replace": list(map(list, source.replace))}
        content["sources"].append(common | asdict(source.reader))
    return content


def _source(content: Any, place: str) -> Source:
    if not isinstance(content, dict):
        raise InputError(f"{place}: {content!r}; expected name, reader and paths")
    place = f"{place} ({content.get('name', 'without name')})"
    common = {item.name for item in fields(Source)} - {"reader"}
    values = {name: value for name, value in content.items() if name in common}
    options = {name: value for name, value in content.items() if name not in common}
    if isinstance(values.get("paths"), str):
        values["paths"] = [values["paths"]]
    if "paths" in values and (not values["paths"] or "" in values["paths"]):
        raise InputError(f"{place}: paths: empty; name files, folders or patterns")
    try:
        kind = get_reader(str(options.pop("reader", "text")))
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    reader = validated(kind, options, place, also=sorted(common | {"reader"}))
    return validated(Source, values | {"reader": reader}, place)


def _check(config: CorpusConfig, path: Path) -> None:
    """Refuses invalid values."""

    def refuse(what: str, expected: str) -> None:
        raise InputError(f"{path}: {what}; expected {expected}")

    names = [source.name for source in config.sources]
    for source in config.sources:
        if names.count(source.name) > 1:
            refuse(f"two sources named {source.name!r}", "another name for each")
        if not source.name or Path(source.name).name != source.name or "." in source.name:
            # In `--weights.NAME` a dot would separate names.
            refuse(f"source name {source.name!r}", "one that can be a folder, without dots")
        if not 0 < source.weight < math.inf:
            refuse(f"weight {source.weight} of {source.name}", "more than 0, and finite")
        for pattern, replacement in source.replace:
            try:
                re.compile(pattern).sub(replacement, "")
            except (re.error, IndexError) as error:
                refuse(f"replace {pattern!r} of {source.name}: {error}", "a regular expression")
    for name, value in (
        ("filters.min_hangul", config.filters.min_hangul),
        ("filters.max_repeated_lines", config.filters.max_repeated_lines),
        ("validation", config.validation),
    ):
        if not 0 <= value <= 1:
            refuse(f"{name} {value}", "a share between 0 and 1")
    for name, number in (
        ("dedup.ngram", config.dedup.ngram),
        ("dedup.buckets", config.dedup.buckets),
        ("dedup.hashes", config.dedup.hashes),
        ("shard_bytes", config.shard_bytes),
        ("executor.workers", config.executor.workers),
        ("executor.tasks", config.executor.tasks),
    ):
        if number is not None and number < 1:
            refuse(f"{name} {number}", "1 or more")
    if config.executor.kind == "slurm" and not config.executor.partition:
        refuse("executor.kind slurm without executor.partition", "the partition jobs run in")
