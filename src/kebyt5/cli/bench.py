"""`kebyt5 bench`."""

from collections.abc import Sequence
from pathlib import Path

from cyclopts import App
from cyclopts.types import PositiveInt
from rich.console import Console
from rich.markdown import Markdown

bench = App(
    name="bench",
    help="Measure kebyt5 beside its alternatives, interleaved in one run.",
)


@bench.command
def tokenizer(*, rounds: PositiveInt = 5, output: Path | None = None) -> None:
    """Compare ByteTokenizer with Transformers' ByT5Tokenizer on 300 kB of Hangul.

    Args:
        rounds: Interleaved rounds after one to warm up.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.tokenizer import bench_tokenizer

    rows = [
        [name, f"{theirs:.1f}", f"{ours:.2f}", str(times)]
        for name, theirs, ours, times in bench_tokenizer(rounds=rounds)
    ]
    head = ["300 kB of Hangul", "ByT5Tokenizer, ms", "ByteTokenizer, ms", "times (range)"]
    _report("Tokenizer", head, rows, output)


@bench.command
def gbst(
    *,
    lengths: tuple[int, ...] = (1024, 3072, 6800),
    rounds: PositiveInt = 5,
    output: Path | None = None,
) -> None:
    """Compare the GBST layer with the naive one: base shape, batch 4, time and peak memory.

    Args:
        lengths: Input bytes.
        rounds: Interleaved rounds after one to warm up.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.gbst import bench_gbst

    rows = []
    for length in lengths:
        for backward in (False, True):
            (naive, ours), times, (naive_bytes, our_bytes) = bench_gbst(length, backward, rounds)
            rows.append(
                [
                    f"{length:,}",
                    "forward and backward" if backward else "forward",
                    f"{naive:.2f}",
                    f"{ours:.2f}",
                    str(times),
                    f"{naive_bytes / 2**20:,.0f}",
                    f"{our_bytes / 2**20:,.0f}",
                    f"{naive_bytes / our_bytes:.1f}",
                ]
            )
    head = ["bytes", "pass", "naive, s", "ours, s", "times (range)", "naive, MiB", "ours, MiB",
            "times"]  # fmt: skip
    _report("GBST layer, D = 1536, batch 4", head, rows, output)


def _report(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], output: Path | None
) -> None:
    """Prints a Markdown table with what it was made with, and writes it if asked."""
    from kebyt5.output import provenance, write_text

    made = provenance()
    machine = made["machine"]
    lines = [
        f"# {title}",
        "",
        *("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)),
        "",
        f"`{made['command']}`, commit {made['commit']}, {made['date']}, {machine['processor']},"
        f" {machine['cores']} cores, "
        + ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        "",
    ]
    text = "\n".join(lines)
    Console().print(Markdown(text))
    if output:
        write_text(output, text)
        print(f"Written to {output}")
