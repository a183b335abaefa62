"""The report about a corpus: its numbers, and a page in Markdown and HTML with plots."""

import html
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kebyt5 import markdown
from kebyt5.corpus.plots import plot_bytes, plot_drops, plot_lengths, plot_scripts
from kebyt5.corpus.shards import CORPUS_MANIFEST, SPLITS, Shards
from kebyt5.corpus.statistics import SCRIPTS, Statistics
from kebyt5.corpus.tally import Counts, read_tallies
from kebyt5.errors import InputError
from kebyt5.output import make_output_folder, write_text
from kebyt5.progress import progress_bars


@dataclass
class CorpusReport:
    """The numbers of the report.

    Attributes:
        splits: Statistics by split and source.
        read: Number of documents and bytes read, by source; only known from the build.
        rejected: Number of documents and bytes dropped, by source and reason; only known from the
            build.
    """

    splits: dict[str, dict[str, Statistics]]
    read: dict[str, list[int]] = field(default_factory=dict)
    rejected: Counts = field(default_factory=dict)

    @classmethod
    def of_build(cls, work: Path, sources: Sequence[str]) -> Self:
        """Sums the counts of all tasks of a build, with sources in the order of the recipe."""
        splits: dict[str, dict[str, Statistics]] = defaultdict(lambda: defaultdict(Statistics))
        for path in sorted((work / "statistics").glob("*.json")):
            for split, found in json.loads(path.read_text(encoding="utf-8")).items():
                for source, content in found.items():
                    splits[split][source] += Statistics.from_json(content)
        read = read_tallies(work / "read")
        rejected: Counts = {}
        for filter in ("filters", "exact", "minhash"):
            for source, reasons in read_tallies(work / "rejected" / filter).items():
                rejected.setdefault(source, {}).update(reasons)
        return cls(
            {
                split: {source: found[source] for source in sources if source in found}
                for split, found in sorted(splits.items())
            },
            {source: read[source]["read"] if source in read else [0, 0] for source in sources},
            {source: rejected[source] for source in sources if source in rejected},
        )

    @classmethod
    def of_manifest(cls, folder: str | os.PathLike[str]) -> Self:
        """Reads the numbers that the build of a corpus recorded.

        Raises:
            InputError: The folder is not a corpus, or an incomplete one.
        """
        manifest = Path(folder) / CORPUS_MANIFEST
        if not manifest.is_file():
            raise InputError(
                f"{folder}: there is no {CORPUS_MANIFEST}, so this is not a corpus, or its build"
                " has not finished; run `kebyt5 corpus build` to its end"
            )
        try:
            content = json.loads(manifest.read_text(encoding="utf-8"))
            splits = {
                split: {source: Statistics.from_json(part) for source, part in sources.items()}
                for split, sources in content["splits"].items()
            }
            return cls(splits, content["read"], content["rejected"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{manifest}: cannot be read as the manifest of a corpus; build the corpus again"
            ) from error

    @classmethod
    def of_corpus(cls, folder: str | os.PathLike[str]) -> Self:
        """Counts all shards of a corpus and verifies their checksums.

        Raises:
            InputError: The folder is not a corpus, or one that is incomplete or was altered.
        """
        folder = Path(folder)
        expected = cls.of_manifest(folder)
        report = cls({}, expected.read, expected.rejected)
        found = {name: Shards(folder / name) for name in SPLITS if (folder / name).is_dir()}
        with progress_bars() as progress:
            bar = progress.add_task("bytes", total=sum(shards.bytes for shards in found.values()))
            for split, shards in found.items():
                counted: dict[str, Statistics] = defaultdict(Statistics)
                report.splits[split] = counted
                for source, parts in shards.sources.items():
                    for shard in parts:
                        shard.verify()
                        counted[source] += Statistics.of(shard)
                        progress.advance(bar, shard.bytes)
        if report._bytes() != expected._bytes():
            raise InputError(f"{folder}: shards are missing or from another corpus; build it again")
        return report

    def require_all_accounted_for(self) -> None:
        """Checks that each document read was kept or dropped for a reason.

        Raises:
            InputError: Some are missing, since files between the stages of the build were damaged.
        """
        for source, (read, _) in self.read.items():
            kept = sum(found[source].documents for found in self.splits.values() if source in found)
            dropped = sum(count for count, _ in self.rejected.get(source, {}).values())
            if kept + dropped != read:
                raise InputError(
                    f"{source}: {read:,} documents were read, but {kept:,} kept and {dropped:,}"
                    " dropped; a file in between was damaged. Build the corpus in a new folder"
                )

    @property
    def documents(self) -> int:
        """Number of documents kept."""
        return sum(part.documents for sources in self.splits.values() for part in sources.values())

    def _bytes(self) -> dict[str, dict[str, int]]:
        return {
            split: {source: part.bytes for source, part in sources.items()}
            for split, sources in self.splits.items()
        }

    def kept(self) -> dict[str, Statistics]:
        """Returns the statistics of each source, over all splits."""
        total: dict[str, Statistics] = defaultdict(Statistics)
        for sources in self.splits.values():
            for source, part in sources.items():
                total[source] += part
        order = list(self.read) or sorted(total)
        return {source: total[source] for source in order if source in total}

    def dropped(self) -> dict[str, int]:
        """Returns the number of dropped documents by reason, the most frequent first."""
        total: Counter[str] = Counter()
        for reasons in self.rejected.values():
            for reason, (documents, _) in reasons.items():
                total[reason] += documents
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    def to_json(self) -> dict[str, Any]:
        """Converts the numbers to JSON."""
        return {
            "splits": {
                split: {source: part.to_json() for source, part in sources.items()}
                for split, sources in self.splits.items()
            },
            "read": self.read,
            "rejected": self.rejected,
        }


@dataclass(frozen=True)
class Section:
    """A table of the report with its plot."""

    title: str
    head: list[str]
    rows: list[list[str]]
    picture: str | None = None


def sections(report: CorpusReport) -> list[Section]:
    """Makes the tables of the report."""
    kept = report.kept()
    total = sum(kept.values(), Statistics())
    return [_sources(report, kept, total), _lengths(total), _scripts(kept, total), _drops(report)]


def _sources(report: CorpusReport, kept: dict[str, Statistics], total: Statistics) -> Section:
    validation = report.splits.get("validation", {})
    rows = []
    for source in report.read or kept:
        read = [f"{count:,}" for count in report.read.get(source, ())] or ["", ""]
        part = kept.get(source, Statistics())
        held = validation.get(source, Statistics()).documents
        rows.append([source, *read, f"{part.documents:,}", f"{part.bytes:,}", f"{held:,}"])
    read = [f"{sum(counts[column] for counts in report.read.values()):,}" for column in (0, 1)]
    held = sum(part.documents for part in validation.values())
    rows.append(["all", *read, f"{total.documents:,}", f"{total.bytes:,}", f"{held:,}"])
    head = ["source", "documents read", "bytes read", "documents", "bytes", "for validation"]
    return Section("Sources", head, rows, "bytes.png")


def _lengths(total: Statistics) -> Section:
    rows = [
        [f"{2**number:,} to {2 ** (number + 1) - 1:,}", f"{count:,}"]
        for number, count in enumerate(total.lengths.tolist())
        if count
    ]
    return Section("Lengths", ["bytes", "documents"], rows, "lengths.png")


def _scripts(kept: dict[str, Statistics], total: Statistics) -> Section:
    rows = [
        [source, *(f"{share:.1%}" for share in part.script_shares.values())]
        for source, part in [*kept.items(), ("all", total)]
    ]
    return Section("Scripts", ["source", *SCRIPTS[:-1]], rows, "scripts.png")


def _drops(report: CorpusReport) -> Section:
    rows = [
        [source, reason, f"{documents:,}", f"{size:,}"]
        for source, reasons in report.rejected.items()
        for reason, (documents, size) in sorted(reasons.items(), key=lambda item: -item[1][0])
    ]
    head = ["source", "reason", "documents", "bytes"]
    return Section("Dropped", head, rows, "drops.png" if rows else None)


def write_report(
    report: CorpusReport,
    folder: str | os.PathLike[str],
    made: dict[str, Any],
    anew: bool = False,
) -> None:
    """Writes `report.md`, `report.html` and their plots.

    Args:
        report: The numbers.
        folder: The output folder.
        made: Provenance of the corpus, from `provenance`.
        anew: Whether an existing report may be replaced.

    Raises:
        InputError: The folder cannot be written to, or is not empty.
    """
    folder = make_output_folder(folder, may_continue=anew)
    kept = report.kept()
    plot_bytes({source: part.bytes for source, part in kept.items()}, folder / "bytes.png")
    plot_lengths({source: part.lengths for source, part in kept.items()}, folder / "lengths.png")
    plot_scripts(
        {source: part.script_shares for source, part in kept.items()}, folder / "scripts.png"
    )
    if report.rejected:
        plot_drops(report.rejected, folder / "drops.png")
    machine = made["machine"]
    footer = (
        f"{made['command']}, commit {made['commit']}, {made['date']},"
        f" {machine['processor']}, {machine['cores']} cores"
    )
    parts = sections(report)
    write_text(folder / "report.md", _markdown(parts, footer))
    write_text(folder / "report.html", _html(parts, footer))


def _markdown(parts: Sequence[Section], footer: str) -> str:
    lines = ["# Corpus", ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        if part.picture:
            lines += [f"![{part.title}]({part.picture})", ""]
        if part.rows:
            rule = ["---"] + ["---:"] * (len(part.head) - 1)
            lines += [*map(markdown.row, (part.head, rule, *part.rows)), ""]
        else:
            lines += ["Nothing.", ""]
    return "\n".join([*lines, f"`{footer}`", ""])


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Corpus</title><style>
body {{ font-family: system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
table {{ border-collapse: collapse; }} th, td {{ padding: 0.2rem 0.8rem; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }} tr:nth-child(even) {{ background: #f4f4f4; }}
img {{ max-width: 100%; }} footer {{ margin-top: 2rem; color: #666; }}
</style></head><body><h1>Corpus</h1>
{body}
<footer><code>{footer}</code></footer></body></html>
"""


def _html(parts: Sequence[Section], footer: str) -> str:
    body = []
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        if part.picture:
            body.append(f'<p><img src="{part.picture}" alt="{html.escape(part.title)}"></p>')
        if not part.rows:
            body.append("<p>Nothing.</p>")
            continue
        body.append("<table>")
        for number, row in enumerate([part.head, *part.rows]):
            tag = "td" if number else "th"
            cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
            body.append(f"<tr>{cells}</tr>")
        body.append("</table>")
    return _PAGE.format(body="\n".join(body), footer=html.escape(footer))
