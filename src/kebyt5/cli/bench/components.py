"""Benchmarks of single parts: `kebyt5 bench tokenizer`, `examples`, `gbst`, `queue` and more."""

from pathlib import Path
from typing import Annotated

from cyclopts.types import PositiveInt

from kebyt5.cli.bench.common import Several, Size, chosen_alternatives, report


def tokenizer(*, rounds: PositiveInt = 5, output: Path | None = None) -> None:
    """Compare ByteTokenizer with Transformers' ByT5Tokenizer on 300 kB of Hangul.

    Args:
        rounds: Interleaved rounds after a warm-up round.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.tokenizer import bench_tokenizer

    rows = [
        [each.name, f"{each.theirs:.1f}", f"{each.ours:.2f}", str(each.times)]
        for each in bench_tokenizer(rounds)
    ]
    head = ["300 kB of Hangul", "ByT5Tokenizer, ms", "ByteTokenizer, ms", "times (range)"]
    report("Tokenizer", head, rows, output)


def make_examples(
    *, corpus: Path | None = None, rounds: PositiveInt = 5, output: Path | None = None
) -> None:
    """Make pretraining examples from byte shards in one thread: MB of text per second.

    Args:
        corpus: Folder of `kebyt5 corpus build`; by default random Hangul.
        rounds: Interleaved rounds after a warm-up round.
        output: A Markdown file to write the table to.
    """
    from statistics import median

    from kebyt5.bench.examples import TOGETHER, bench_examples

    rows = [
        [name, f"{median(rates):.0f}", f"{min(rates):.0f} to {max(rates):.0f}"]
        for name, rates in bench_examples(corpus, rounds).items()
    ]
    report("Examples", [f"{TOGETHER} at a time", "MB/s, median", "range"], rows, output)


def gbst(
    *,
    lengths: Annotated[tuple[PositiveInt, ...], Several] = (1024, 3072, 6800),
    rounds: PositiveInt = 5,
    output: Path | None = None,
) -> None:
    """Compare the GBST layer with a naive one: base shape, batch 4, time and peak memory.

    Args:
        lengths: Input bytes.
        rounds: Interleaved rounds after a warm-up round.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.gbst import bench_gbst

    rows = []
    for length in lengths:
        for backward in (False, True):
            found = bench_gbst(length, backward, rounds)
            rows.append(
                [
                    f"{length:,}",
                    "forward and backward" if backward else "forward",
                    f"{found.naive_seconds:.2f}",
                    f"{found.our_seconds:.2f}",
                    str(found.times),
                    f"{found.naive_memory / 2**20:,.0f}",
                    f"{found.our_memory / 2**20:,.0f}",
                    f"{found.naive_memory / found.our_memory:.1f}",
                ]
            )
    head = ["bytes", "pass", "naive, s", "ours, s", "times (range)", "naive, MiB", "ours, MiB",
            "times"]  # fmt: skip
    report("GBST layer, D = 1536, batch 4", head, rows, output)


def queue(
    *,
    requests: PositiveInt = 200,
    lengths: tuple[PositiveInt, PositiveInt] = (30, 3000),
    output_bytes: tuple[PositiveInt, PositiveInt] = (16, 112),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    alternatives: Annotated[tuple[str, ...], Several] = (
        "naive-gbst", "kebyt5-gbst", "kebyt5-gbst-engine", "kebyt5-gbst-engine-int8",
    ),
    rounds: PositiveInt = 3,
    output: Path | None = None,
) -> None:  # fmt: skip
    """Compare how fast a queue of requests of mixed lengths is served.

    The engine takes all requests at once. Other alternatives generate batches of 8 in the order of
    arrival, each until its longest text is complete: `naive-gbst` is Transformers' T5 after GBST as
    published, `kebyt5-gbst` the model of this package, which skips padding. With the base model a
    round takes half an hour on two cores, with `transformers-sdpa` an hour more.

    ```bash
    kebyt5 bench queue --presets tiny --alternatives kebyt5-gbst kebyt5-gbst-engine
    ```

    Args:
        requests: Number of requests.
        lengths: Smallest and largest input in bytes; uniformly distributed logarithms.
        output_bytes: Smallest and largest output in bytes; uniformly distributed.
        presets: Sizes of the models.
        alternatives: Names as in the documentation; all are compared with the first two.
        rounds: Interleaved rounds after every alternative answered a few requests.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.alternatives import ALTERNATIVES
    from kebyt5.bench.measure import ratio
    from kebyt5.bench.queued import Queue, bench_queue

    asked = Queue.mixed(requests, lengths, output_bytes)
    names = chosen_alternatives(alternatives)
    rows = []
    for size in presets:
        seconds = bench_queue(size, names, asked, rounds)
        for name, times in seconds.items():
            middle = sorted(times)[len(times) // 2]
            ratios = [str(ratio(seconds[other], times)) for other in names[:2]]
            rows.append([size, ALTERNATIVES[name].title, f"{middle:.3g}",
                         f"{requests / middle:.3g}", f"{asked.output_bytes / middle:.3g}",
                         *ratios])  # fmt: skip
    head = ["size", "", "s", "requests/s", "bytes/s",
            *(f"times {ALTERNATIVES[name].title} (range)" for name in names[:2])]  # fmt: skip
    title = (
        f"A queue of {requests} requests, {lengths[0]:,} to {lengths[1]:,} bytes in,"
        f" {output_bytes[0]:,} to {output_bytes[1]:,} out"
    )
    report(title, head, rows, output)


def passes(
    *,
    length: PositiveInt = 1024,
    rows: Annotated[tuple[PositiveInt, ...], Several] = (1, 2, 4, 8, 16, 32),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    rounds: PositiveInt = 5,
    output: Path | None = None,
) -> None:
    """Compare decoder passes with the bandwidth of memory, in float32 and with int8 weights.

    Args:
        length: Input bytes.
        rows: Numbers of rows (byte positions) of a pass.
        presets: Sizes of the models.
        rounds: Interleaved rounds after a warm-up round.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.passes import bench_passes, encoder_ratio, milliseconds

    cells = []
    for size in presets:
        measured = bench_passes(size, length, rows, rounds)
        for each in measured:
            cells.append(
                [size, each.title, *(milliseconds(each.decode[n]) for n in rows),
                 f"{each.read / 1e6:.0f}", milliseconds(each.least),
                 str(each.over_bandwidth(rows[0])), milliseconds(each.encode),
                 str(encoder_ratio(measured)) if each is measured[1] else ""]
            )  # fmt: skip
    head = ["size", "", *(f"{n} rows, ms" for n in rows), "MB read", "ms at bandwidth",
            f"{rows[0]} rows / bandwidth (range)", "encode, ms",
            "times float32 (range)"]  # fmt: skip
    report(f"Decoder passes, {length:,} bytes in, GBST model", head, cells, output)


def kernels(
    *,
    rows: Annotated[tuple[PositiveInt, ...], Several] = (1, 2, 3, 4, 8, 16, 32, 342, 1024),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    rounds: PositiveInt = 10,
    output: Path | None = None,
) -> None:
    """Compare the kernels for the linear layers of a decoder, with few rows or many.

    Args:
        rows: Numbers of rows of the left factor.
        presets: Sizes of the models.
        rounds: Interleaved rounds after a warm-up round.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.kernels import KERNELS, bench_kernels, shapes

    cells = []
    for size in presets:
        weights = sum(n * k for n, k in shapes(size))
        for count in rows:
            seconds = bench_kernels(size, count, rounds)
            best = {name: min(seconds[name]) for name in KERNELS}
            rates = [2 * count * weights / best[name] / 1e9 for name in ("oneDNN", "int8")]
            cells.append(
                [size, f"{weights / 1e6:.1f}", str(count),
                 *(f"{1000 * best[name]:.3g}" for name in KERNELS), *(f"{r:.3g}" for r in rates)]
            )  # fmt: skip
    head = ["size", "M weights", "rows", *(f"{name}, ms" for name in KERNELS),
            "oneDNN, GFLOP/s", "int8, GOP/s"]  # fmt: skip
    report("Products of the decoder's linear layers, best round", head, cells, output)
