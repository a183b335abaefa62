"""Building a corpus: making the pipeline of a recipe, running it, and reporting the result.

The stages are:

```
read      files → documents → clean → filters → stored documents, their hashes
exact     hashes → duplicates                                          (dedup.exact)
signatures, buckets, clusters   MinHash → near duplicates              (dedup.minhash)
shards    stored documents without duplicates → train/ and validation/
report    corpus.json and report/
```
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.dedup.minhash import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.writers.jsonl import JsonlWriter

from kebyt5.corpus.cleaning import Clean
from kebyt5.corpus.config import CorpusConfig, dump_config
from kebyt5.corpus.dedup import CharacterSignature, exact_config, minhash_config
from kebyt5.corpus.executors import Stage, run_stages
from kebyt5.corpus.filters import Keep
from kebyt5.corpus.readers.files import legible, located
from kebyt5.corpus.report import CorpusReport, write_report
from kebyt5.corpus.shards import CORPUS_MANIFEST, CORPUS_WORK
from kebyt5.corpus.steps import ReadSources, SourceFile, StoredDocuments, WriteShards
from kebyt5.corpus.tally import Rejects
from kebyt5.errors import InputError
from kebyt5.output import make_output_folder, only_process, write_json, write_text
from kebyt5.provenance import provenance

MAX_TASKS = 256
"""Largest number of tasks into which files are divided by default."""

_MARK = "inputs.json"
"""File in which a build says what it is of."""


def build_corpus(config: CorpusConfig) -> bool:
    """Builds a corpus, or continues a build of the same recipe that was stopped.

    The shards are a function of the recipe and the files: neither the number of workers nor where
    they run changes a byte. `corpus.json` is written last; a folder without it is incomplete.

    Returns:
        Whether the corpus is complete; with Slurm the jobs are only submitted.

    Raises:
        InputError: The recipe, a file or the output folder is invalid.
    """
    files = source_files(config)
    work = config.output / CORPUS_WORK
    _begin(config, files, work)
    if (config.output / CORPUS_MANIFEST).exists():
        _remove_intermediate(work)  # which a kill may have left
        return True
    with only_process(config.output, "build"):
        stages = make_stages(config, files, provenance())
        return run_stages(stages, config.executor, work / "logs")


def source_files(config: CorpusConfig) -> list[SourceFile]:
    """Lists all files of all sources, in the order of the recipe.

    Files of the output folder are left out, which may lie within a source.

    Raises:
        InputError: A path matches no file.
    """
    output = config.output.resolve()
    files = [
        SourceFile(number, file)
        for number, source in enumerate(config.sources)
        for file in source.reader.files(source.paths)
        if not (os.path.exists(file) and Path(file).resolve().is_relative_to(output))
    ]
    if not files:
        raise InputError(f"{output}: the sources hold nothing but this output folder")
    return files


def make_stages(config: CorpusConfig, files: list[SourceFile], made: dict[str, Any]) -> list[Stage]:
    """Makes the pipeline of a recipe."""
    work, dedup = config.output / CORPUS_WORK, config.dedup
    tasks = min(config.executor.tasks or MAX_TASKS, len(files))
    documents, exact, minhash = work / "documents", work / "exact", work / "minhash"

    def rejects(filter: str, reason: str = "") -> Rejects:
        texts = config.output / "rejects" / filter if config.rejects else None
        return Rejects(work / "rejected" / filter, reason, texts)

    def stored(last: bool = False) -> list[PipelineStep]:
        """Reads stored documents without exact duplicates, which only the last stage counts."""
        steps: list[PipelineStep] = [StoredDocuments(documents)]
        if dedup.exact:
            counted = rejects("exact", "exact duplicate") if last else None
            steps.append(ExactDedupFilter(str(exact / "found"), exact_config(), counted))
        return steps

    read: list[PipelineStep] = [
        ReadSources(config.sources, files, config.strict, work / "read"),
        Clean(config.cleaning),
        Keep(config.filters, rejects("filters")),
        JsonlWriter(str(documents), compression=None),
    ]
    stages = [Stage("read", read, tasks)]
    if dedup.exact:
        read.append(ExactDedupSignature(str(exact / "signatures"), exact_config()))
        find = ExactFindDedups(
            str(exact / "signatures"), str(exact / "found"), exact_config(), lines_to_buffer=4096
        )
        stages.append(Stage("exact", [find], 1))
    last = stored(last=True)
    if dedup.minhash:
        settings = minhash_config(dedup)
        folders = {name: str(minhash / name) for name in ("signatures", "buckets", "found")}
        signatures = CharacterSignature(folders["signatures"], settings)
        buckets = MinhashDedupBuckets(
            folders["signatures"], folders["buckets"], config=settings, lines_to_buffer=1024
        )
        clusters = MinhashDedupCluster(folders["buckets"], folders["found"], settings)
        stages += [
            Stage("signatures", [*stored(), signatures], tasks),
            Stage("buckets", [buckets], dedup.buckets),
            Stage("clusters", [clusters], 1),
        ]
        last.append(MinhashDedupFilter(folders["found"], rejects("minhash", "near duplicate")))
    shards = WriteShards(config.output, config.validation, config.shard_bytes, work / "statistics")
    return [
        *stages,
        Stage("shards", [*last, shards], tasks),
        Stage("report", [Finish(config, len(files), made)], 1),
    ]


class Finish(PipelineStep):
    """Writes the report and the manifest of the corpus, and removes intermediate files."""

    type = "📊 - REPORT"
    name = "report"

    def __init__(self, config: CorpusConfig, files: int, made: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.source_files = files
        self.made = made

    def run(
        self, data: Iterable[Document] | None = None, rank: int = 0, world_size: int = 1
    ) -> None:
        """Runs once, after all shards are written."""
        output, work = self.config.output, self.config.output / CORPUS_WORK
        report = CorpusReport.of_build(work, [source.name for source in self.config.sources])
        report.require_all_accounted_for()
        if not report.documents:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in report.dropped().items())
            raise InputError(f"{output}: no document is left; dropped: {reasons or 'nothing'}")
        write_report(report, output / "report", self.made, anew=True)
        content = {
            "format": "kebyt5 corpus 1",
            "weights": {source.name: source.weight for source in self.config.sources},
            "files": self.source_files,
            **report.to_json(),
            "recipe": dump_config(self.config),
            "made": self.made,
        }
        write_json(output / CORPUS_MANIFEST, content)
        _remove_intermediate(work)


def _remove_intermediate(work: Path) -> None:
    """Removes the intermediate texts, which are a copy of all sources."""
    for name in ("documents", "exact", "minhash"):
        shutil.rmtree(work / name, ignore_errors=True)


def _begin(config: CorpusConfig, files: list[SourceFile], work: Path) -> None:
    """Creates the output folder, or checks that the same build was begun in it."""
    recipe = dump_config(config)
    # The result depends on the number of tasks, but not on where and how many of them run at once.
    same = recipe | {"executor": {"tasks": config.executor.tasks}}
    inputs = {
        "recipe": {name: value for name, value in same.items() if name != "output"},
        "files": [[unit.source, legible(unit.file), _size(unit.file)] for unit in files],
    }
    mark = work / _MARK
    # A full disk may have accepted the folder, but not the mark.
    begun = work.is_dir() and (mark.exists() or list(config.output.iterdir()) == [work])
    output = make_output_folder(config.output, may_continue=begun)
    if not mark.exists():
        make_output_folder(work, may_continue=True)
        write_json(mark, inputs)
    elif json.loads(mark.read_text(encoding="utf-8")) != json.loads(json.dumps(inputs)):
        raise InputError(
            f"{output}: a corpus from another recipe or other files was begun here;"
            " name another output, or remove this one"
        )
    if (output / CORPUS_MANIFEST).exists():
        return
    # datatrove lists these folders even if nothing was written to them.
    for name in ("documents", "exact/signatures", "exact/found", "minhash/found"):
        make_output_folder(work / name, may_continue=True)
    write_text(output / "config.yaml", yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False))


def _size(file: str) -> int | None:
    """Returns the bytes of a file; None for a data set on the hub or the like."""
    filesystem, name = located(file)
    try:
        size = filesystem.size(name)
    except FileNotFoundError:
        return None
    return None if size is None else int(size)
