"""The recipe of a corpus: a YAML file, read into these dataclasses.

The docstring below a field says what it means; docs/corpus.md shows a whole file.
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
    """What is done to every text."""

    __pydantic_config__ = STRICT

    nfc: bool = True
    """Compose jamo and accents (Unicode's form NFC)."""

    blanks: bool = True
    """Make runs of blanks within a line one; indentation stays."""

    repeated_lines: bool = True
    """Keep one of several equal lines that follow each other."""


@dataclass(kw_only=True)
class Filters:
    """Which documents are dropped; each for the first reason that holds."""

    __pydantic_config__ = STRICT

    min_characters: int = 10
    """Shorter documents are dropped."""

    max_characters: int | None = None
    """Longer documents are dropped."""

    min_hangul: float = 0.3
    """Share of Hangul in the characters that are not blanks."""

    max_repeated_lines: float = 0.5
    """Share of lines that are equal to an earlier line of the document."""


@dataclass(kw_only=True)
class Dedup:
    """Which duplicates are dropped."""

    __pydantic_config__ = STRICT

    exact: bool = True
    """Drop documents with the same text; the source that stands first keeps it."""

    minhash: bool = True
    """Drop documents with nearly the same text; one of them stays."""

    ngram: int = 8
    """MinHash compares the sets of runs of so many characters, blanks and punctuation aside."""

    buckets: int = 14
    """Signatures of a document; one in common makes two documents duplicates."""

    hashes: int = 8
    """Hashes in a signature. The similarity at which half of the pairs are found is about
    (1 / buckets) ^ (1 / hashes), 0.72 by default."""


@dataclass(kw_only=True)
class Executor:
    """Where the work is done."""

    __pydantic_config__ = STRICT

    kind: Literal["local", "slurm", "ray"] = "local"
    """Processes on this machine, or jobs of a cluster that sees the same files."""

    workers: int | None = None
    """Tasks at the same time; as many as there are cores where not given, on a cluster all."""

    tasks: int | None = None
    """Parts the files are divided into, part of the recipe; one a file up to 256 by default."""

    memory: float = 2.0
    """GB for a task on Slurm or Ray."""

    partition: str | None = None
    """Slurm: where jobs run."""

    time: str = "24:00:00"
    """Slurm: limit of a job."""

    setup: str | None = None
    """Slurm: a command that jobs begin with, such as one to activate an environment."""

    sbatch: dict[str, str] = field(default_factory=dict)
    """Slurm: further options of sbatch."""

    address: str | None = None
    """Ray: the cluster; where not given that of RAY_ADDRESS, else this machine."""


@dataclass(kw_only=True)
class Source:
    """Where documents come from. The options of the reader stand beside these."""

    __pydantic_config__ = STRICT

    name: str
    """Name of its folder in the corpus, without dots."""

    reader: Reader
    """How its files are read: `reader: NAME` with its options."""

    paths: list[str]
    """Files, folders or patterns; one may stand without a list."""

    weight: float = 1.0
    """How often a byte of it is drawn in pretraining, beside 1 for other sources."""

    replace: list[tuple[str, str]] = field(default_factory=list)
    """Regular expressions and what to put for them, before cleaning."""


@dataclass(kw_only=True)
class CorpusConfig:
    """The recipe of a corpus."""

    __pydantic_config__ = STRICT

    output: Path
    """Folder of the corpus; new, empty, or one where the same recipe was begun."""

    sources: list[Source]
    """Where documents come from."""

    cleaning: Cleaning = field(default_factory=Cleaning)
    """What is done to every text."""

    filters: Filters = field(default_factory=Filters)
    """Which documents are dropped."""

    dedup: Dedup = field(default_factory=Dedup)
    """Which duplicates are dropped."""

    validation: float = 0.01
    """Share of the documents for validation, chosen by the hash of their text."""

    shard_bytes: int = 256 << 20
    """Size of a shard at which the next one begins."""

    strict: bool = False
    """Stop at input that cannot be read, instead of counting it as rejected."""

    rejects: bool = False
    """Write what is dropped, with the reason, to `rejects/` as JSON Lines."""

    executor: Executor = field(default_factory=Executor)
    """Where the work is done."""


def load_config(path: str | os.PathLike[str]) -> CorpusConfig:
    """Reads a recipe. `${NAME}` in it stands for the environment variable NAME.

    Raises:
        InputError: It cannot be read, or a value is not what it has to be.
    """
    path = Path(path)
    content = load_yaml(path, "a recipe", variables=True)
    if not isinstance(content, dict):
        raise InputError(f"{path}: no recipe; expected `output:` and `sources:`")
    sources = content.get("sources")
    if not isinstance(sources, list) or not sources:
        raise InputError(f"{path}: no list of `sources`; expected at least one")
    content["sources"] = [
        _source(source, f"{path}: sources[{number}]") for number, source in enumerate(sources)
    ]
    config: CorpusConfig = validated(CorpusConfig, content, str(path))
    _check(config, path)
    return config


def dump_config(config: CorpusConfig) -> dict[str, Any]:
    """The recipe as `load_config` reads it, with every default."""
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
    """Refuses values that cannot be meant."""

    def refuse(what: str, expected: str) -> None:
        raise InputError(f"{path}: {what}; expected {expected}")

    names = [source.name for source in config.sources]
    for source in config.sources:
        if names.count(source.name) > 1:
            refuse(f"two sources named {source.name!r}", "another name for each")
        if not source.name or Path(source.name).name != source.name or "." in source.name:
            # In `--weights.NAME` a dot divides names.
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


__all__ = [
    "Cleaning",
    "CorpusConfig",
    "Dedup",
    "Executor",
    "Filters",
    "Source",
    "dump_config",
    "load_config",
]
