"""Writing the report about some runs, as Markdown and as a single HTML file."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kebyt5 import markdown
from kebyt5.evaluation.evaluate import show_score
from kebyt5.evaluation.plots import learning_curves
from kebyt5.models.offsets import replace_surrogates
from kebyt5.output import DPI, png, write_text
from kebyt5.progress import track
from kebyt5.reporting import plots
from kebyt5.reporting.confusion import Confusion, confusion
from kebyt5.reporting.mistakes import ADDED, MISSING, SAME, Mistakes, Piece, worst_mistakes
from kebyt5.reporting.results import Result, Runs, TrainingLog, differences
from kebyt5.reporting.tables import score_tables
from kebyt5.tasks.metrics.classification import LabelScore

_MAX_INPUT, _MAX_SAME = 600, 160
"""Characters of an input field, and of text that is right, that are shown without elision."""

_MARKS = {MISSING: "[-{}-]", ADDED: "{{+{}+}}"}


@dataclass(frozen=True)
class Picture:
    """A plot; `name` is the name of its file."""

    title: str
    name: str
    png: bytes

    @property
    def data(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """The width in CSS pixels at which to show it."""
        return int.from_bytes(self.png[16:20]) * 96 // DPI


@dataclass(frozen=True)
class Section:
    """The section of the report about one result."""

    result: Result
    check: str
    facts: Mapping[str, str]
    labels: Sequence[LabelScore] = ()
    confusion: Confusion | None = None
    pictures: Sequence[Picture] = ()
    mistakes: Mistakes | None = None
    anchor: str = ""


def write_report(runs: Runs, folder: Path, made: Mapping[str, Any]) -> None:
    """Writes `report.md` with its plots, and `report.html`, which embeds them.

    Args:
        runs: The runs to report on.
        folder: An existing folder.
        made: The provenance of the report itself.
    """
    curves = [
        Picture(
            f"Learning curves of {log.name}",
            f"curves-{number}.png",
            png(learning_curves(log.entries, _main_scores(runs, log))),
        )
        for number, log in enumerate(runs.logs, 1)
    ]
    sections = [
        _section(result, number)
        for number, result in enumerate(track(runs.results, "Reporting"), 1)
    ]
    content = {
        "tables": score_tables(runs),
        "curves": curves,
        "sections": sections,
        "facts": _provenance(made),
    }
    pictures = [*curves, *(picture for section in sections for picture in section.pictures)]
    if pictures:
        (folder / "images").mkdir()
    for picture in pictures:
        (folder / "images" / picture.name).write_bytes(picture.png)
    for name in ("report.md", "report.html"):
        text = _environment(name).get_template(f"{name}.jinja").render(content)
        # Data may contain halves of surrogate pairs, which UTF-8 cannot encode.
        write_text(folder / name, replace_surrogates(text))


def _environment(name: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("kebyt5.reporting"),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "elide": elide,
        "abridged": abridged,
        "md": markdown.plain,
        "row": markdown.row,
        "code": markdown.code,
        "fence": markdown.fence,
        "wdiff": wdiff,
        "score": lambda value, name: show_score(name, value),
    }
    environment.globals |= {"max_input": _MAX_INPUT, "max_same": _MAX_SAME}
    return environment


def elide(text: str, length: int) -> str:
    """Elides the middle of a text that is longer than `length` characters."""
    half = (length - 3) // 2
    return text if len(text) <= length else f"{text[:half]} … {text[-half:]}"


def abridged(pieces: Sequence[Piece], length: int) -> list[Piece]:
    """Elides the pieces that target and answer share; differences are kept whole."""
    return [Piece(k, elide(text, length)) if k == SAME else Piece(k, text) for k, text in pieces]


def wdiff(pieces: Iterable[Piece]) -> str:
    """Formats differences in the notation of wdiff: `[-missing-]` and `{+added+}`."""
    return "".join(_MARKS.get(kind, "{}").format(text) for kind, text in pieces)


def _section(result: Result, number: int) -> Section:
    metrics = result.metrics
    facts = {
        **({"data": result.data} if result.data else {}),
        "examples": f"{metrics['examples']:,}",
        **({"checkpoint": metrics["checkpoint"]} if metrics.get("checkpoint") else {}),
        **_provenance(metrics.get("made") or {}),
    }
    pictures = _pictures(result, number)
    anchor = f"result-{number}"
    if not result.predicted:
        check = "There is no predictions.jsonl with targets, so these scores are unchecked."
        return Section(result, check, facts, pictures=pictures, anchor=anchor)
    return Section(
        result,
        _check(result),
        facts,
        result.task.label_scores(result.examples, result.texts),
        confusion(result),
        pictures,
        worst_mistakes(result),
        anchor,
    )


def _main_scores(runs: Runs, log: TrainingLog) -> dict[str, str]:
    """Returns the main scores of the tasks of a training run, by the name of the task."""
    below = f"{log.name}/"
    tasks = [r.task for r in runs.results if f"{r.name}/".startswith(below)]
    return {task.name: task.main_score for task in tasks}


def _check(result: Result) -> str:
    """Says in a sentence whether the predictions give the scores that the run stored."""
    differ, untold = differences(result)
    stored = result.metrics["scores"]
    if differ:
        changes = ", ".join(
            f"{name} {show_score(name, anew)} instead of {show_score(name, stored[name])}"
            for name, anew in differ.items()
        )
        text = (
            f"Scored again, predictions.jsonl does not give the scores of the run: {changes}. The"
            " file keeps only one target per example, though the data may have several right"
            " answers; or the scores are from another version."
        )
    else:
        text = "Scored again, predictions.jsonl gives the same scores."
    if untold:
        text += f" It does not suffice for {', '.join(untold)}, for which likelihoods are needed."
    return text


def _pictures(result: Result, number: int) -> list[Picture]:
    main, metrics = result.task.main_score, result.metrics
    pictures = []
    if bins := metrics.get("by_length"):
        png = plots.score_by_length(bins, main)
        pictures.append(Picture("By length of the input", f"length-{number}.png", png))
    if rates := metrics.get("noise"):
        scores = [name for name in rates[0]["scores"] if name != "unparsed"]
        png = plots.score_by_noise(rates, scores)
        pictures.append(Picture("By noise in the input", f"noise-{number}.png", png))
    gold = [example.gold for example in result.examples]
    if gold and all(isinstance(value, float) for value in gold):
        lines = result.predicted or ()
        answers = [result.task.parse(line.text, line.example).value for line in lines]
        png = plots.numbers_against_gold(gold, answers)
        pictures.append(Picture("Answers by gold", f"answers-{number}.png", png))
    return pictures


def _provenance(made: Mapping[str, Any]) -> dict[str, str]:
    machine, versions = made.get("machine") or {}, made.get("versions") or {}
    facts = {
        "command": made.get("command"),
        "commit": made.get("commit"),
        "date": made.get("date"),
        "machine": ", ".join(
            str(f"{value} cores" if key == "cores" else value) for key, value in machine.items()
        ),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return {key: str(value) for key, value in facts.items() if value}
