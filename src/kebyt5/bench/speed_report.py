"""Page and plot of the speed of alternatives."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.measure import ratio
from kebyt5.bench.report import GIB, made_with, table
from kebyt5.bench.speed import Case, Result, Speed
from kebyt5.output import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCES = {
    "transformers-sdpa": "times sdpa",
    "ctranslate2-int8": "times CTranslate2 int8",
    "naive-gbst": "times naive GBST",
}
"""Alternatives that all others are compared with, and the heads of these columns."""

MAIN_PART = {"train": "step", "encode": "encode", "generate": "total", "copy": "total"}
TITLES = {
    "train": "Training step",
    "encode": "Encoding",
    "generate": "Generation",
    "copy": "Generation of copies",
}
NOTES = {
    "train": "A step is forward and backward, without the optimizer; dropout {dropout:g}.",
    "encode": "CTranslate2 has no call that only encodes: it decodes one byte as well.",
    "generate": "Greedy; the end of sequence is ruled out. There is nothing to copy, and the engine"
    " makes no drafts: a pass of the decoder for every byte.",
    "copy": "Greedy; the end of sequence is ruled out. The GBST model is `{checkpoint}`, widened to"
    " this shape so that it computes the same: it copies what it reads, prompts of the NER task"
    " with sentences written for this project. The plain model on these weights"
    " says nothing useful and takes the time it always takes. `passes` are those of the decoder"
    " for one text, `copied` is the share of bytes that a draft had guessed right although others"
    " were possible, `forced` the share that the constraint left no choice about; `accepted` is how"
    " many of those that were proposed before a pass it confirmed; `constrained` is under the"
    " task's constraint.",
}


def exponent(lengths: Sequence[float], seconds: Sequence[float]) -> float:
    """Fits the exponent e of seconds ~ length^e by least squares of the logarithms."""
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def report_speed(speed: Speed) -> str:
    """Writes the page on one measure, except for its plot: one table per case, and provenance."""
    notes = [
        f"Medians of {speed.rounds} interleaved rounds with their range, float32, random weights of"
        " T5's own scale. `times sdpa` is how many times as fast a row is as Transformers with"
        " sdpa; `/ floor` is how many times as long as its floor it takes, 1 being the limit of"
        " `torch.matmul` (oneDNN may be below); `first`"
        " and `peak` are the first run of a fresh process and all the memory it held."
        " docs/benchmarks.md has more on this.",
        NOTES[speed.measure].format(dropout=speed.dropout, checkpoint=speed.checkpoint),
    ]
    lines = [f"# {TITLES[speed.measure]}", "", " ".join(notes), ""]
    for case in dict.fromkeys(result.case for result in speed.results):
        results = [result for result in speed.results if result.case == case]
        lines += [f"## {_title(case)}", "", *case_table(speed.measure, results), ""]
    lines += exponent_table(speed)
    lines += [_agreement(speed), ""] if speed.losses else []
    machine = speed.machine
    if machine.rates and machine.bandwidths:
        lines += [
            f"Matrix products reached {max(machine.rates) / 1e9:.0f} GFLOP/s at the best shape,"
            f" memory {np.median(machine.bandwidths) / 1e9:.1f} GB/s.",
            "",
        ]
    return "\n".join([*lines, made_with(), ""])


def case_table(measure: str, results: Sequence[Result]) -> list[str]:
    """Makes a table with one row for every alternative and floor."""
    part = MAIN_PART[measure]
    by_name = {result.name: result for result in results}
    references = {name: head for name, head in REFERENCES.items() if name in by_name}
    generates = part == "total"
    parts = ["encode", "byte", "total"] if generates else [part]
    heads = {
        "byte": "ms per byte",
        "encode": "encode, s",
        "step": "step, s",
        "total": "total, s",
    }
    speed = ["bytes/s"] if generates else []
    head = ["", *(heads[p] for p in parts), *speed, *references.values(), "/ floor"]
    if generates:
        head += ["byte / floor", "passes", "copied", "copies accepted", "forced", "forced accepted"]
    head += ["first, s", "peak, GiB"]
    rows = []
    for result in results:
        alternative = ALTERNATIVES.get(result.name)
        title = alternative.title if alternative else f"*{result.name}*"
        if not result.rounds:
            needs = f"does not fit: needs about {(result.needs or 0) / GIB:.1f} GiB"
            rows.append([title, needs, *[""] * (len(head) - 2)])
            continue
        times = result.rounds[part]
        cells = [title, *(_seconds(result.median(p), p) for p in parts)]
        cells[-1] += f" ({_seconds(min(times))} to {_seconds(max(times))})"
        if generates:
            size = result.case.batch_size * result.case.outputs
            cells.append(f"{size / result.median(part):,.1f}")
        for name in references:
            other = by_name[name].rounds
            cells.append(f"{ratio(other[part], times).median:.2f}" if other else "")
        if alternative:
            floor = by_name["floor, GBST" if alternative.has_gbst else "floor, plain"].rounds
            cells.append(f"{ratio(times, floor[part]).median:.2f}")
            if generates:
                cells.append(f"{ratio(result.rounds['byte'], floor['byte']).median:.2f}")
                cells += _origin(result)
            cells += [_seconds(result.cold or 0), f"{(result.peak or 0) / GIB:.1f}"]
        rows.append(cells + [""] * (len(head) - len(cells)))
    return table(head, rows)


def _origin(result: Result) -> list[str]:
    """Formats passes per text, and the share and acceptance rate of copied and forced bytes."""
    counts, case = result.statistics, result.case
    if counts is None:
        return [""] * 5
    size = case.batch_size * case.outputs
    cells = [f"{counts.passes / case.batch_size:.1f}"]
    free, forced = (counts.copied, counts.proposed), (counts.forced, counts.proposed_forced)
    for found, proposed in (free, forced):
        cells += [f"{found / size:.0%}", f"{found / proposed:.0%}" if proposed else ""]
    return cells


def exponent_table(speed: Speed) -> list[str]:
    """Makes a table of the fitted exponents of cost against length, if several were measured."""
    rows = [
        [curve.size, str(curve.batch_size), curve.title,
         f"{min(curve.lengths):,} to {max(curve.lengths):,}", f"{curve.exponent:.2f}"]
        for curve in cost_curves(speed)
        if len(curve.lengths) > 1
    ]  # fmt: skip
    if not rows:
        return []
    return [
        "## Cost against length",
        "",
        *table(["size", "batch", "", "bytes", "exponent"], rows),
        "",
    ]


class CostCurve(NamedTuple):
    """The cost of one alternative, or floor, against the length of the input.

    Attributes:
        size: Size of the model.
        batch_size: Inputs at a time.
        title: What was measured.
        lengths: Bytes of an input.
        seconds: Median seconds at each length.
    """

    size: str
    batch_size: int
    title: str
    lengths: list[int]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """The fitted exponent of cost against length."""
        return exponent(self.lengths, self.seconds)


def cost_curves(speed: Speed) -> list[CostCurve]:
    """Collects median seconds against length, by size and batch, for alternatives and floors."""
    part = MAIN_PART[speed.measure]
    found: dict[tuple[str, int, str], CostCurve] = {}
    for result in speed.results:
        if result.rounds:
            case = result.case
            alternative = ALTERNATIVES.get(result.name)
            title = alternative.title if alternative else result.name
            curve = found.setdefault(
                (case.size, case.batch_size, result.name),
                CostCurve(case.size, case.batch_size, title, [], []),
            )
            curve.lengths.append(case.length)
            curve.seconds.append(result.median(part))
    return list(found.values())


def plot_speed(speed: Speed, path: Path) -> None:
    """Draws cost against length, one panel per size and batch; for generation, bars."""
    from matplotlib.figure import Figure

    if MAIN_PART[speed.measure] == "total":
        cases = list(dict.fromkeys(result.case for result in speed.results))
        figure = Figure(figsize=(8, 1 + 2.6 * len(cases)), layout="constrained")
        for case, axes in zip(cases, figure.subplots(len(cases), squeeze=False), strict=True):
            _draw_bars(axes[0], case, [r for r in speed.results if r.case == case and r.rounds])
    else:
        drawn = cost_curves(speed)
        groups = list(dict.fromkeys((curve.size, curve.batch_size) for curve in drawn))
        columns = min(2, len(groups))
        rows = -(-len(groups) // columns)
        figure = Figure(figsize=(8.5 * columns, 5 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in panels[len(groups) :]:
            axes.remove()
        for (size, batch_size), axes in zip(groups, panels, strict=False):
            _draw_curves(axes, [c for c in drawn if (c.size, c.batch_size) == (size, batch_size)])
            axes.set(title=f"{TITLES[speed.measure]}, {size}, batch {batch_size}")
    save_figure(figure, path)


def _draw_curves(axes: "Axes", drawn: Sequence[CostCurve]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    # Each alternative has the same color in every panel.
    colors = {a.title: f"C{number}" for number, a in enumerate(ALTERNATIVES.values())}
    for curve in drawn:
        is_floor, is_line = curve.title.startswith("floor"), len(curve.lengths) > 1
        power = f"  $\\propto L^{{{curve.exponent:.2f}}}$" if is_line else ""
        axes.plot(
            curve.lengths,
            curve.seconds,
            label=curve.title + power,
            color=colors.get(curve.title, "0.6"),
            linestyle=":" if is_floor and "plain" in curve.title else "--" if is_floor else "-",
            marker="" if is_floor and is_line else "o",
            linewidth=2.5 if curve.title.startswith("kebyt5") else 1.5,
        )
    plain = FuncFormatter(lambda value, _: f"{value:,g}")
    axes.set(xscale="log", yscale="log", xlabel="bytes in", ylabel="seconds (median)")
    axes.set_xticks(sorted({length for curve in drawn for length in curve.lengths}))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_bars(axes: "Axes", case: Case, results: Sequence[Result]) -> None:
    titles = [ALTERNATIVES[r.name].title if r.name in ALTERNATIVES else r.name for r in results]
    encode = [result.median("encode") for result in results]
    decode = [result.median("total") - result.median("encode") for result in results]
    axes.barh(titles, encode, label="encoding")
    bars = axes.barh(titles, decode, left=encode, label=f"decoding {case.outputs} bytes")
    axes.bar_label(
        bars,
        [
            f"{_seconds(r.median('total'))} s ({1000 * r.median('byte'):.3g} ms a byte)"
            for r in results
        ],
        padding=4,
        fontsize="small",
    )
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set(title=_title(case), xlabel="seconds (median)")
    axes.legend(fontsize="small", loc="lower right")


def _agreement(speed: Speed) -> str:
    """Says how far the losses of equivalent alternatives differ."""
    apart = 0.0
    for case in {case for case, _ in speed.losses}:
        for has_gbst in (False, True):
            losses = [
                loss
                for (where, name), loss in speed.losses.items()
                if where == case and ALTERNATIVES[name].has_gbst == has_gbst
            ]
            if losses:
                apart = max(apart, (max(losses) - min(losses)) / min(losses))
    return f"Losses of alternatives that compute the same differ by at most {apart:.1e}."


def _title(case: Case) -> str:
    return f"{case.size}, batch {case.batch_size}, {case.length:,} bytes in, {case.outputs:,} out"


def _seconds(seconds: float, part: str = "") -> str:
    return f"{1000 * seconds:.1f}" if part == "byte" else f"{seconds:.3g}"
