"""`kebyt5 bench`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from rich.console import Console
from rich.markdown import Markdown

from kebyt5.errors import InputError

Size = Literal["tiny", "small", "base", "large"]
Several = Parameter(consume_multiple=True, negative=())

bench = App(
    name="bench",
    help="Measure kebyt5 beside its alternatives, interleaved in one run.",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to measure, and where to write it.

    Attributes:
        presets: Sizes of the models.
        lengths: Input bytes; several of them make a plot and a fitted exponent.
        batch_sizes: Texts at a time.
        output_bytes: Bytes that are trained on, or generated, for every text.
        alternatives: Names as in the documentation; all where not given.
        rounds: Interleaved rounds after one to warm up.
        output: An existing or new folder for the table (Markdown) and the plot (PNG).
    """

    presets: Annotated[tuple[Size, ...], Several] = ("base",)
    lengths: Annotated[tuple[PositiveInt, ...], Several] | None = None
    batch_sizes: Annotated[tuple[PositiveInt, ...], Several] | None = None
    output_bytes: PositiveInt | None = None
    alternatives: Annotated[tuple[str, ...], Several] | None = None
    rounds: PositiveInt = 5
    output: Path | None = None


@bench.default
def everything(
    *,
    workload: Literal["klue-mrc"] | None = None,
    data: Path | None = None,
    examples: PositiveInt = 4,
    lengths: Annotated[tuple[PositiveInt, ...], Several] = (6800,),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    rounds: PositiveInt = 5,
    output: Path = Path("docs/results"),
) -> None:
    """Run every benchmark of speed with its defaults, some hours; or the one named by `--workload`.

    ```bash
    kebyt5 bench --workload klue-mrc --data klue-mrc-v1.1_dev.json
    kebyt5 bench train --lengths 512 1024 --output docs/results
    ```

    `klue-mrc` is the efficiency table of the published model card: how fast the plain and the GBST
    model train and infer on reading comprehension. With its defaults it takes about an hour on two
    cores.

    Args:
        workload: Only this benchmark.
        data: klue-mrc: a KLUE-MRC file; the development set in the folder that the environment
            variable KEBYT5_DATA names where not given.
        examples: klue-mrc: how many real questions, spread over all lengths.
        lengths: klue-mrc: input bytes of the synthetic texts.
        presets: Sizes of the models.
        rounds: Interleaved rounds after one to warm up.
        output: A folder for tables and plots.
    """
    from kebyt5.output import make_output_folder

    mrc_file = _mrc_file(data)
    folder = make_output_folder(output, may_continue=True)
    if workload is None:
        tokenizer(rounds=rounds, output=folder / "bench-tokenizer.md")
        gbst(rounds=rounds, output=folder / "bench-gbst.md")
        choice = Choice(presets=presets, rounds=rounds, output=folder)
        losses(output=folder)
        train(choice=choice)
        encode(choice=choice)
        generate(choice=choice)
        copy(choice=choice)
        kernels(presets=presets, output=folder / "bench-kernels.md")
        passes(presets=presets, rounds=rounds, output=folder / "bench-passes.md")
        queue(presets=presets, output=folder / "bench-queue.md")
    for size in presets:
        _mrc(size, mrc_file, examples, lengths, rounds, folder)


bench.command(everything, name="all")


@bench.command
def train(choice: Choice = Choice(), *, dropout: NonNegativeFloat = 0.0) -> None:
    """Compare training steps, forward and backward without the optimizer.

    By default batch 1, 512 and 1,024 bytes in and 128 out, which takes a quarter of an hour on
    two cores.

    ```bash
    kebyt5 bench train --output docs/results
    kebyt5 bench train --lengths 3072 6800 --batch-sizes 1 4 --alternatives kebyt5 kebyt5-gbst
    kebyt5 bench train --presets tiny --lengths 64 128 --rounds 1
    ```

    Args:
        choice: What to measure.
        dropout: The rate.
    """
    _speed("train", choice, (512, 1024), (1,), 128, dropout)


@bench.command
def losses(
    *,
    preset: Size = "tiny",
    steps: PositiveInt = 200,
    alternatives: Annotated[tuple[str, ...], Several] | None = None,
    output: Path | None = None,
) -> None:
    """Compare loss curves: training by this package has to be the training of its alternatives.

    With its defaults it takes some minutes on two cores.

    ```bash
    kebyt5 bench losses --output docs/results
    ```

    Args:
        preset: Size of the models.
        steps: Optimizer steps.
        alternatives: Names as in the documentation; all where not given.
        output: An existing or new folder for the table (Markdown) and the plot (PNG).
    """
    from kebyt5.bench.losses import train_alternatives
    from kebyt5.bench.report import plot_losses, report_losses
    from kebyt5.output import make_output_folder

    folder = make_output_folder(output, may_continue=True) if output else None
    curves = train_alternatives(preset, _alternatives(alternatives), steps)
    picture = "bench-losses.png" if folder else None
    if folder and picture:
        plot_losses(curves, folder / picture)
    text = report_losses(preset, curves)
    _publish(text, folder / "bench-losses.md" if folder else None, picture)


@bench.command
def encode(choice: Choice = Choice()) -> None:
    """Compare the encoder at inference.

    By default batch 1 and 512, 1,024 and 3,072 bytes, which takes a quarter of an hour on two
    cores.

    ```bash
    kebyt5 bench encode --lengths 1024 3072 6800 --output docs/results
    ```

    Args:
        choice: What to measure.
    """
    _speed("encode", choice, (512, 1024, 3072), (1,), 1)


@bench.command
def generate(choice: Choice = Choice()) -> None:
    """Compare greedy generation with nothing to copy: encoding, milliseconds per byte, in total.

    By default 64 bytes out of 1,024, batch 1 and 8, which takes an hour on two cores.

    ```bash
    kebyt5 bench generate --batch-sizes 1 --output docs/results
    ```

    Args:
        choice: What to measure.
    """
    _speed("generate", choice, (1024,), (1, 8), 64)


@bench.command
def copy(choice: Choice = Choice()) -> None:
    """Compare greedy generation by a model that copies: the package's own, widened to the size.

    By default 64 bytes out of 1,024, batch 1 and 8, which takes an hour on two cores.

    ```bash
    kebyt5 bench copy --batch-sizes 1 --output docs/results
    ```

    Args:
        choice: What to measure.
    """
    _speed("copy", choice, (1024,), (1, 8), 64)


@bench.command
def queue(
    *,
    requests: PositiveInt = 200,
    lengths: tuple[PositiveInt, PositiveInt] = (30, 3000),
    output_bytes: tuple[PositiveInt, PositiveInt] = (16, 112),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    alternatives: Annotated[tuple[str, ...], Several] = (
        "kebyt5-gbst", "kebyt5-gbst-engine", "kebyt5-gbst-engine-int8",
    ),
    rounds: PositiveInt = 3,
    output: Path | None = None,
) -> None:  # fmt: skip
    """Compare how a queue of requests of all lengths is served.

    The engine takes all requests at once; other alternatives generate batches of 8 in the order of
    arrival, until the longest text of each is there. With the base model a round takes ten minutes
    on two cores, and with `transformers-sdpa` an hour.

    ```bash
    kebyt5 bench queue --presets tiny --alternatives kebyt5-gbst kebyt5-gbst-engine
    ```

    Args:
        requests: How many.
        lengths: Fewest and most input bytes; their logarithms are spread evenly.
        output_bytes: Fewest and most bytes that a request wants, spread evenly.
        presets: Sizes of the models.
        alternatives: Names as in the documentation.
        rounds: Interleaved rounds after one to warm up.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.alternatives import ALTERNATIVES
    from kebyt5.bench.measure import ratio
    from kebyt5.bench.queued import Queue, bench_queue

    asked = Queue.mixed(requests, lengths, output_bytes)
    names = _alternatives(alternatives)
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
    _report(title, head, rows, output)


@bench.command
def passes(
    *,
    length: PositiveInt = 1024,
    rows: Annotated[tuple[PositiveInt, ...], Several] = (1, 2, 4, 8, 16, 32),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    rounds: PositiveInt = 5,
    output: Path | None = None,
) -> None:
    """Compare decoder passes with the bandwidth of memory, and the encoder in eight bits.

    Args:
        length: Input bytes.
        rows: Bytes that a pass looks at.
        presets: Sizes of the models.
        rounds: Interleaved rounds after one to warm up.
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
    _report(f"Decoder passes, {length:,} bytes in, GBST model", head, cells, output)


@bench.command
def kernels(
    *,
    rows: Annotated[tuple[PositiveInt, ...], Several] = (1, 2, 3, 4, 8, 16, 32, 342, 1024),
    presets: Annotated[tuple[Size, ...], Several] = ("base",),
    rounds: PositiveInt = 10,
    output: Path | None = None,
) -> None:
    """Compare what multiplies the linear layers of a decoder with few rows or many.

    Args:
        rows: How many.
        presets: Sizes of the models.
        rounds: Interleaved rounds after one to warm up.
        output: A Markdown file to write the table to.
    """
    from kebyt5.bench.kernels import KERNELS, bench_kernels, shapes

    cells = []
    for size in presets:
        weights = sum(n * k for n, k in shapes(size))
        for count in rows:
            seconds = bench_kernels(size, count, rounds)
            best = [min(seconds[name]) for name in KERNELS]
            cells.append(
                [size, f"{weights / 1e6:.1f}", str(count), *(f"{1000 * s:.3g}" for s in best),
                 *(f"{2 * count * weights / s / 1e9:.3g}" for s in (best[1], best[3]))]
            )  # fmt: skip
    head = ["size", "M weights", "rows", *(f"{name}, ms" for name in KERNELS),
            "oneDNN, GFLOP/s", "int8, GOP/s"]  # fmt: skip
    _report("Products of the decoder's linear layers, best round", head, cells, output)


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
    lengths: Annotated[tuple[PositiveInt, ...], Several] = (1024, 3072, 6800),
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


@bench.command
def pretrained(
    *models: str,
    corpus: Path | None = None,
    text: Annotated[tuple[Path, ...], Several] = (),
    examples: PositiveInt = 50,
    input_length: PositiveInt = 512,
    order: NonNegativeInt = 5,
    batch_size: PositiveInt = 16,
    rounds: PositiveInt = 5,
    output: Path | None = None,
) -> None:
    r"""Compare pretrained models on text they have not seen: bits per byte, and spans filled.

    Writes `pretrained.md` with a plot. Runs of `kebyt5 pretrain` are also compared after equal
    steps and after equal time.

    ```bash
    kebyt5 bench pretrained runs/gbst-kebyt5-tiny runs/kebyt5-tiny --corpus runs/corpus-tiny \
      --output docs/results
    kebyt5 bench pretrained tiny --text novel.txt essays.txt
    ```

    Args:
        models: Checkpoint folders, names on the hub, or `tiny`.
        corpus: What they were trained on, built by `kebyt5 corpus build`: a PPM is counted on its
            training text, and its validation text is what they have not seen.
        text: Plain text files to measure on in place of that.
        examples: How many of each source or file, at most.
        input_length: Ids of an example.
        order: Bytes of PPM's longest context, up to 7.
        batch_size: Examples at a time.
        rounds: Interleaved training steps of each run that are timed.
        output: An existing or new folder for the table (Markdown) and the plot (PNG).
    """
    from tempfile import TemporaryDirectory

    from kebyt5.bench.pretrained import compare_pretrained, unseen_text
    from kebyt5.bench.pretrained_report import plot_pretrained, report_pretrained
    from kebyt5.corpus.shards import Shards
    from kebyt5.output import make_output_folder
    from kebyt5.pretraining.validation import Validation, validation_shards

    if not models:
        raise InputError("no model; name one or more checkpoints")
    if order > 7:
        raise InputError(f"--order {order}: has to be 7 or less")
    folder = make_output_folder(output, may_continue=True) if output else None
    train = Shards(corpus / "train") if corpus else None
    with TemporaryDirectory() as temporary:
        if text:
            unseen: Shards | None = unseen_text(text, Path(temporary))
        else:
            unseen = validation_shards(corpus) if corpus else None
        if unseen is None:
            raise InputError("no text to measure on; give --text, or a --corpus with validation")
        validation = Validation(unseen, examples, batch_size, input_length)
        found = compare_pretrained(models, validation, train, order, rounds)
    if folder:
        plot_pretrained(found, folder / "pretrained.png")
    picture = "pretrained.png" if folder else None
    _publish(report_pretrained(found), folder / "pretrained.md" if folder else None, picture)


@bench.command
def quality(
    recipe: Path = Path("scripts/quality.yaml"),
    /,
    *,
    runs: Path = Path("runs/quality"),
    jobs: PositiveInt = 1,
    output: Path = Path("docs/results"),
) -> None:
    """Fine-tune several starts on several tasks with several seeds: mean, deviation, seconds.

    Writes `klue-small.md` with a plot. Whatever was run before with the same settings and weights
    is not run again, so a killed call is repeated to go on.

    ```bash
    KEBYT5_DATA=... kebyt5 bench quality
    kebyt5 bench quality mine.yaml --runs runs/mine --output results
    ```

    Args:
        recipe: A YAML file with the tables, rows and settings.
        runs: A folder for the results of the single runs.
        jobs: Runs at a time, which share the cores.
        output: An existing or new folder for the page (Markdown) and the plot (PNG).
    """
    from kebyt5.bench.quality import measure_quality, read_recipe
    from kebyt5.bench.quality_report import plot_quality, report_quality
    from kebyt5.output import make_output_folder

    content = read_recipe(recipe)
    folder = make_output_folder(output, may_continue=True)
    results = measure_quality(content, runs, jobs)
    plot_quality(content, results, folder / "klue-small.png")
    _publish(report_quality(content, results), folder / "klue-small.md", "klue-small.png")


@bench.command
def serve(
    checkpoint: str = "tiny",
    *,
    clients: PositiveInt = 64,
    minutes: PositiveFloat = 5.0,
    cancelled: NonNegativeFloat = 0.1,
    output: Path | None = None,
) -> None:
    """Put a server of its own under load: wrong answers, latencies, throughput, memory.

    By default 64 clients for five minutes after one of them alone; seven minutes in all.

    ```bash
    kebyt5 bench serve --output docs/results
    kebyt5 bench serve runs/ner --clients 16 --minutes 1
    ```

    Args:
        checkpoint: A folder, a name on the hub, or `tiny`, the model that kebyt5 ships.
        clients: At the same time.
        minutes: How long.
        cancelled: Share of the requests that are given up early.
        output: An existing or new folder for the page (Markdown) and the plot (PNG).
    """
    from kebyt5.bench.serve import bench_serve
    from kebyt5.bench.serve_report import plot_serve, report_serve
    from kebyt5.output import make_output_folder

    if cancelled > 1:
        raise InputError(f"--cancelled {cancelled}: a share, at most 1")
    folder = make_output_folder(output, may_continue=True) if output else None
    endurance = bench_serve(checkpoint, clients, 60 * minutes, cancelled)
    text = report_serve(endurance, checkpoint, clients, 60 * minutes, cancelled)
    if folder:
        plot_serve(endurance, folder / "bench-serve.png")
    _publish(text, folder / "bench-serve.md" if folder else None, "bench-serve.png")


def _speed(
    measure: str, choice: Choice, lengths: tuple[int, ...], batch_sizes: tuple[int, ...],
    output_bytes: int, dropout: float = 0.0,
) -> None:  # fmt: skip
    """Runs one measure, prints its page and writes it with its plot."""
    from kebyt5.bench.report import plot_speed, report_speed
    from kebyt5.bench.speed import Case, bench_speed
    from kebyt5.output import make_output_folder

    folder = make_output_folder(choice.output, may_continue=True) if choice.output else None
    outputs = choice.output_bytes or output_bytes
    cases = [
        Case(size, batch_size, length, outputs)
        for size in choice.presets
        for batch_size in choice.batch_sizes or batch_sizes
        for length in sorted(set(choice.lengths or lengths))
    ]
    names = _alternatives(choice.alternatives)
    speed = bench_speed(measure, names, cases, choice.rounds, dropout)
    text = report_speed(speed, choice.rounds, dropout)
    has_plot = folder and (measure == "generate" or len({case.length for case in cases}) > 1)
    picture = f"bench-{measure}.png" if has_plot else None
    if folder and picture:
        plot_speed(speed, folder / picture)
    _publish(text, folder / f"bench-{measure}.md" if folder else None, picture)


def _alternatives(chosen: Sequence[str] | None) -> list[str]:
    """The names of what is compared, in the order of the tables."""
    from kebyt5.bench.alternatives import ALTERNATIVES

    for name in chosen or ():
        if name not in ALTERNATIVES:
            raise InputError(f"unknown alternative {name!r}; known: {', '.join(ALTERNATIVES)}")
        if not ALTERNATIVES[name].is_installed():
            raise InputError(f"{name} is not installed; `pip install kebyt5[bench]` has it")
    if chosen:
        return [name for name in ALTERNATIVES if name in chosen]
    missing = [name for name in ALTERNATIVES if not ALTERNATIVES[name].is_installed()]
    if missing:
        message = f"left out: {', '.join(missing)}; `pip install kebyt5[bench]` has them"
        Console(stderr=True).print(message)
    return [name for name in ALTERNATIVES if name not in missing]


def _mrc_file(data: Path | None) -> Path:
    if data is None:
        folder = os.environ.get("KEBYT5_DATA")
        if not folder:
            raise InputError(
                "klue-mrc needs data: give --data klue-mrc-v1.1_dev.json of the KLUE benchmark, or"
                " set KEBYT5_DATA to the folder that has klue/klue-mrc-v1.1 in it"
            )
        data = Path(folder, "klue", "klue-mrc-v1.1", "klue-mrc-v1.1_dev.json")
    if not data.is_file():
        raise InputError(f"{data}: no such file; give --data klue-mrc-v1.1_dev.json")
    return data


def _mrc(
    size: str, data: Path, examples: int, lengths: Sequence[int], rounds: int, folder: Path
) -> None:
    from kebyt5.bench.mrc import bench_mrc, real_texts, synthetic_text
    from kebyt5.bench.report import report_mrc

    workloads = [real_texts(data, examples), *map(synthetic_text, sorted(set(lengths)))]
    text = report_mrc(size, bench_mrc(size, workloads, rounds), rounds)
    _publish(text, folder / f"bench-klue-mrc-{size}.md")


def _report(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], output: Path | None
) -> None:
    """Prints a Markdown table with what it was made with, and writes it if asked."""
    from kebyt5.bench.report import made_with, table

    _publish("\n".join([f"# {title}", "", *table(head, rows), "", made_with(), ""]), output)


def _publish(text: str, output: Path | None, picture: str | None = None) -> None:
    """Prints a Markdown page and, if asked, writes it with a picture under its title."""
    from kebyt5.output import write_text

    Console().print(Markdown(text))
    if output:
        title, _, rest = text.partition("\n")
        shown = f"\n![{title.removeprefix('# ')}]({picture})\n" if picture else ""
        write_text(output, f"{title}\n{shown}{rest}")
        print(f"Written to {output}")
