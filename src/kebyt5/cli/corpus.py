"""`kebyt5 corpus`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App
from cyclopts.types import PositiveInt
from rich.console import Console
from rich.table import Table

from kebyt5.cli.extras import require_extra

if TYPE_CHECKING:
    from kebyt5.corpus.report import CorpusReport

corpus = App(
    name="corpus",
    help="Make byte shards for pretraining from raw text, and inspect them.",
)


@corpus.command
def build(
    recipe: Path,
    /,
    *,
    output: Path | None = None,
    executor: Literal["local", "slurm", "ray"] | None = None,
    workers: PositiveInt | None = None,
) -> None:
    """Read, clean, filter and deduplicate the sources of a recipe, and write shards and a report.

    To continue a build that was stopped, give the same command again.

    ```bash
    kebyt5 corpus build scripts/corpus/example.yaml --output corpus
    kebyt5 corpus build recipe.yaml --executor ray --workers 64
    ```

    Args:
        recipe: YAML file; docs/corpus.md explains it.
        output: Folder of the corpus; overrides the recipe.
        executor: Processes on this machine, jobs on Slurm, or a Ray cluster; overrides the recipe.
        workers: Number of parallel tasks; overrides the recipe.
    """
    require_extra("corpus", "datatrove")
    from kebyt5.corpus.build import build_corpus
    from kebyt5.corpus.config import load_config
    from kebyt5.corpus.report import CorpusReport
    from kebyt5.corpus.shards import CORPUS_MANIFEST

    config = load_config(recipe, output, kind=executor, workers=workers)
    if build_corpus(config):
        _show(CorpusReport.of_manifest(config.output))
        print(f"Written to {config.output}, see {config.output / 'report' / 'report.html'}")
    else:
        print(f"Submitted; {config.output / CORPUS_MANIFEST} appears when all jobs have finished")


@corpus.command
def stats(folder: Path, /, *, output: Path | None = None) -> None:
    """Verify a corpus and show its statistics.

    ```bash
    kebyt5 corpus stats corpus --output report
    ```

    Args:
        folder: Folder of the corpus.
        output: Folder for the report as a page with plots.
    """
    require_extra("corpus", "datatrove")
    from kebyt5.corpus.report import CorpusReport, write_report
    from kebyt5.provenance import provenance

    report = CorpusReport.of_corpus(folder)
    if output is not None:  # written before printing, which may fail if stdout is closed
        write_report(report, output, provenance())
    _show(report)
    if output is not None:
        print(f"Written to {output}")


def _show(report: "CorpusReport") -> None:
    """Prints the tables of a report."""
    from kebyt5.corpus.report import sections

    for section in sections(report):
        table = Table(title=section.title)
        for number, column in enumerate(section.head):
            table.add_column(column, justify="right" if number else "left")
        for row in section.rows:
            table.add_row(*row)
        Console().print(table)
