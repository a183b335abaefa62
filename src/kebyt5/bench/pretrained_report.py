"""The page on pretrained models: tables and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kebyt5.bench.blanks import BEAMS, TOP, Filled
from kebyt5.bench.curves import Curve, reference
from kebyt5.bench.pretrained import LENGTHS, Infilling, Pretrained
from kebyt5.bench.report import made_with, table
from kebyt5.output import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTE = """\
Bits per byte of the masked bytes, on text that no model was trained on: {examples:,} examples of
{length} ids, 15 % of the bytes masked in spans of 20 on average. A model reads both sides of
a span and is charged for sentinels and `</s>` as well, teacher-forced; PPM-D of order {order},
counted on {trained:.0f} MB (all training text of the same corpus), predicts the same bytes from the
true text to their left."""

NOTE_WITHOUT_PPM = NOTE[: NOTE.index("; PPM")] + "."

BLANKS_NOTE = f"""\
One blank of whole characters in each text, filled as `kebyt5 fill` does it, by a search of
{BEAMS} beams that does not know how long the blank is: how often the likeliest filling is what
stood there, and how often one of the {TOP} likeliest is; it may stand elsewhere in the text, too.
A word has two syllables or more, and spaces around it."""

STEPS_NOTE = """\
Seconds of a step are medians of steps of all models, interleaved. `at equal steps` is after the
{steps:,} steps and `at equal time` after the {minutes:.0f} minutes that {name} was trained; between
measurements by interpolation. These bits are those that the runs measured, on inputs of their own
length. A run that continues after that point has not lowered its learning rate yet, so compare the
runs that end there."""


def report_pretrained(found: Pretrained) -> str:
    """Writes the page, except for its plot."""
    note = (NOTE if found.trained_bytes else NOTE_WITHOUT_PPM).format(
        examples=found.examples,
        length=found.input_length,
        order=found.order,
        trained=found.trained_bytes / 1e6,
    )
    lines = ["# Pretrained models", "", *note.splitlines(), "", *bits_table(found.bits), ""]
    lines += [
        "## Infilling",
        "",
        "Spans that greedy decoding writes byte for byte, by their length in bytes (a syllable has",
        "3). Drawn spans may begin and end within a syllable.",
        "",
        *infilling_table(found.infilling),
        "",
        "## One blank at a time",
        "",
        *BLANKS_NOTE.splitlines(),
        "",
        *blanks_table(found.blanks),
        "",
    ]
    if len(found.curves) > 1:
        lines += ["## Equal steps, equal time", "", *curves_table(found.curves), ""]
    return "\n".join([*lines, made_with(), ""])


def bits_table(bits: dict[str, dict[str, float]]) -> list[str]:
    """Makes a table with one row per source, and the total last."""
    sources = next(iter(bits.values()))
    rows = [
        ["**all**" if source == "all" else source, *(f"{of[source]:.3f}" for of in bits.values())]
        for source in sources
    ]
    return table(["bits per byte", *bits], rows)


def infilling_table(infilling: dict[str, Infilling]) -> list[str]:
    """Makes a table with one row per class of lengths, and the total last."""
    some = next(iter(infilling.values()))
    rows = []
    for number, (first, last) in enumerate(LENGTHS):
        cells = [_percent(of.exact[number], of.spans[number]) for of in infilling.values()]
        title = f"{first} to {last}" if last else f"{first} and more"
        rows.append([title, f"{some.spans[number]:,}", *cells])
    total = [_percent(sum(of.exact), sum(of.spans)) for of in infilling.values()]
    rows.append(["**all**", f"{sum(some.spans):,}", *total])
    return table(["bytes of the span", "spans", *infilling], rows)


def blanks_table(blanks: dict[str, dict[str, Filled]]) -> list[str]:
    """Makes a table with one row per kind of blank, and columns for top-1 and top-5 fillings."""
    some = next(iter(blanks.values()))
    head = ["blank", "texts"]
    for name in blanks:
        head += [f"{name}, top 1", f"top {TOP}"]
    rows = []
    for kind, counted in some.items():
        row = [kind, f"{counted.blanks:,}"]
        for of in (each[kind] for each in blanks.values()):
            row += [_percent(of.top1, of.blanks), _percent(of.top5, of.blanks)]
        rows.append(row)
    return table(head, rows)


def curves_table(curves: Sequence[Curve]) -> list[str]:
    """Makes a table with one row per run, compared at the end of the slowest one."""
    other = reference(curves)
    rows = []
    for curve in curves:
        compared = (curve.at_step(other.steps[-1]), curve.at_second(other.seconds))
        rows.append(
            [
                curve.name,
                f"{curve.steps[-1]:,}",
                f"{curve.step_seconds:.3g}",
                f"{curve.seconds / 60:.0f}",
                f"{curve.bits[-1]:.3f}",
                *("ended before" if bits is None else f"{bits:.3f}" for bits in compared),
            ]
        )
    head = ["", "steps", "s a step", "minutes", "bits per byte at its end", "at equal steps",
            "at equal time"]  # fmt: skip
    note = STEPS_NOTE.format(steps=other.steps[-1], minutes=other.seconds / 60, name=other.name)
    return [*note.splitlines(), "", *table(head, rows)]


def plot_pretrained(found: Pretrained, path: Path) -> None:
    """Draws bits per byte by source, infilling by length, and curves over steps and over time."""
    from matplotlib.figure import Figure

    rows = 2 if len(found.curves) > 1 else 1
    figure = Figure(figsize=(13, 4.8 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False)
    _draw_bits(panels[0, 0], found.bits)
    _draw_infilling(panels[0, 1], found.infilling)
    if rows > 1:
        other = reference(found.curves)
        for axes, is_time in zip(panels[1], (False, True), strict=True):
            for curve in found.curves:
                scale = curve.step_seconds / 60 if is_time else 1
                axes.plot(np.array(curve.steps) * scale, curve.bits, label=curve.name, marker=".")
            axes.axvline(
                other.seconds / 60 if is_time else other.steps[-1], color="0.6", linestyle=":"
            )
            axes.set(
                title="equal time" if is_time else "equal steps",
                xlabel="training time, minutes" if is_time else "steps",
                ylabel="bits per masked byte, validation",
            )
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small")
    save_figure(figure, path)


def _draw_bits(axes: "Axes", bits: dict[str, dict[str, float]]) -> None:
    sources = list(next(iter(bits.values())))
    height = 0.8 / len(bits)
    for number, (name, of) in enumerate(bits.items()):
        color = "0.6" if name.startswith("PPM") else f"C{number}"
        places = np.arange(len(sources)) + number * height
        axes.barh(places, [of[source] for source in sources], height, label=name, color=color)
    axes.set_yticks(np.arange(len(sources)) + 0.4 - height / 2, sources)
    axes.invert_yaxis()
    axes.set(title="masked bytes of unseen text", xlabel="bits per byte (less is better)")
    axes.legend(fontsize="small")


def _draw_infilling(axes: "Axes", infilling: dict[str, Infilling]) -> None:
    width = 0.8 / len(infilling)
    for number, (name, of) in enumerate(infilling.items()):
        shares = [
            100 * exact / max(1, spans) for exact, spans in zip(of.exact, of.spans, strict=True)
        ]
        axes.bar(np.arange(len(shares)) + number * width, shares, width, label=name)
    titles = [f"{first}-{last}" if last else f"{first}+" for first, last in LENGTHS]
    axes.set_xticks(np.arange(len(LENGTHS)) + 0.4 - width / 2, titles)
    axes.set(title="spans filled exactly", xlabel="bytes of the span", ylabel="%")
    axes.legend(fontsize="small")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
