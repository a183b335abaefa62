"""The page on a server under load, and its plot."""

from collections.abc import Sequence
from pathlib import Path

from kebyt5.bench.report import made_with, table
from kebyt5.bench.serve import Answers, Endurance
from kebyt5.output import save_figure

MIB = 2**20


def report_serve(endurance: Endurance, checkpoint: str) -> str:
    """Writes the page, except for its plot.

    Args:
        endurance: The measurements.
        checkpoint: The checkpoint that was served.
    """
    load, alone, together = endurance.load, endurance.alone, endurance.together
    head = ["", "answers/s", "bytes/s", "processor, ms an answer", "p50, s", "p99, s",
            "first text p50, s", "answers", "cancelled", "refused", "failed", "wrong"]  # fmt: skip
    rows = [
        [
            "`generate` of Transformers, no server",
            f"{endurance.plain:.1f}",
            *[""] * (len(head) - 2),
        ],
        ["one at a time", *_cells(alone)],
        [f"{load.clients} clients", *_cells(together)],
        ["**times `generate`**", f"{together.rate / endurance.plain:.1f}", *[""] * (len(head) - 2)],
        [
            "**times one at a time**",
            f"{together.rate / alone.rate:.1f}",
            f"{(together.bytes / together.seconds) / (alone.bytes / alone.seconds):.1f}",
            f"1 / {alone.cost / together.cost:.1f}",
            *[""] * (len(head) - 4),
        ],
    ]
    overload, stopped = endurance.overload, endurance.stopped
    refused, refusing = sorted(overload.refused), sorted(endurance.refusing)
    sizes = [size / MIB for _, size in endurance.memory]
    lines = [
        "# A server under load",
        "",
        f"`{checkpoint}`, {load.clients} clients for {load.seconds:g} s; texts of 1 to 8 sentences"
        " of the sample data, 32 to 256 bytes generated, half of them streamed;"
        f" {load.cancelled:.0%} of the requests are given up within a second. Every answer is"
        " compared with plain greedy search by Transformers, one text at a time. Load and server"
        " share the machine.",
        "",
        *table(head, rows),
        "",
        f"* **Wrong answers**: {alone.wrong + together.wrong}."
        f" {alone.tied + together.tied} others differ where the server reports that two ids were"
        " as likely within 1e-5.",
        f"* **Memory of the server**: {sizes[0]:.0f} MiB at first, {max(sizes):.0f} at most,"
        f" {sizes[-1]:.0f} at last; the last fifth {endurance.growth:+.1%} beside the first.",
        f"* **Overload**, more clients than places: {len(overload.latencies)} answered,"
        f" {len(refused)} refused"
        + (
            f", half of these within {_part(refused, 0.5)} ms, 99 % within"
            f" {_part(refused, 0.99)} ms as the client sees it, {_part(refusing, 0.5)} and"
            f" {_part(refusing, 0.99)} ms as the server's log has it;"
            if refused and refusing
            else ";"
        )
        + f" the last one answered {endurance.drained:.1f} s after the last question.",
        f"* **SIGTERM** with {len(stopped.latencies) + sum(stopped.failed.values())} requests under"
        f" way: {len(stopped.latencies)} answered, {stopped.wrong} wrong,"
        f" {sum(stopped.failed.values())} lost.",
        "",
        made_with(),
        "",
    ]
    return "\n".join(lines)


def plot_serve(endurance: Endurance, path: Path) -> None:
    """Draws latencies and memory."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label, answers in (("one at a time", endurance.alone), ("together", endurance.together)):
        latencies = np.sort(answers.latencies)
        left.plot(latencies, 100 * np.arange(1, len(latencies) + 1) / len(latencies), label=label)
    left.set(xscale="log", xlabel="seconds to the whole answer", ylabel="answers, %")
    left.legend()
    seconds, sizes = zip(*endurance.memory, strict=True)
    right.plot(seconds, [size / MIB for size in sizes])
    right.set(xlabel="seconds under load", ylabel="memory of the server, MiB", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _part(seconds: Sequence[float], share: float) -> str:
    """Formats a quantile of sorted times in milliseconds."""
    return f"{1000 * seconds[int(share * (len(seconds) - 1))]:.0f}"


def _cells(answers: Answers) -> list[str]:
    first = sorted(answers.first)
    return [
        f"{answers.rate:.1f}",
        f"{answers.bytes / answers.seconds:,.0f}",
        f"{1000 * answers.cost:.1f}",
        f"{answers.percentile(50):.2f}",
        f"{answers.percentile(99):.2f}",
        f"{first[len(first) // 2]:.2f}" if first else "",
        f"{len(answers.latencies):,}",
        f"{answers.cancelled:,}",
        f"{len(answers.refused):,}",
        ", ".join(f"{count} {reason}" for reason, count in answers.failed.items()) or "0",
        str(answers.wrong),
    ]
