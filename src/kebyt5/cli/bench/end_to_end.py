"""Benchmarks of the whole: `kebyt5 bench losses`, `pretrained`, `quality` and `serve`."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from kebyt5.cli.bench.common import Several, Size, chosen_alternatives, publish_in
from kebyt5.errors import InputError


def losses(
    *,
    preset: Size = "tiny",
    steps: PositiveInt = 200,
    alternatives: Annotated[tuple[str, ...], Several] | None = None,
    output: Path | None = None,
) -> None:
    """Compare loss curves: this package has to train in the same way as its alternatives.

    With its defaults it takes some minutes on two cores.

    ```bash
    kebyt5 bench losses --output docs/results
    ```

    Args:
        preset: Size of the models.
        steps: Number of optimizer steps.
        alternatives: Names as in the documentation; by default all.
        output: An existing or new folder for the table (Markdown) and the plot (PNG).
    """
    from kebyt5.bench.losses import train_alternatives
    from kebyt5.bench.losses_report import plot_losses, report_losses
    from kebyt5.output import make_output_folder

    folder = make_output_folder(output, may_continue=True) if output else None
    curves = train_alternatives(preset, chosen_alternatives(alternatives), steps)
    publish_in(folder, "bench-losses", report_losses(preset, curves), partial(plot_losses, curves))


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
    r"""Compare pretrained models on unseen text: bits per byte, filling spans and single blanks.

    Writes `pretrained.md` with a plot. Runs of `kebyt5 pretrain` are also compared after equal
    steps and after equal time.

    ```bash
    kebyt5 bench pretrained runs/gbst-kebyt5-tiny runs/kebyt5-tiny --corpus runs/corpus-tiny \
      --output docs/results
    kebyt5 bench pretrained tiny --text novel.txt essays.txt
    ```

    Args:
        models: Checkpoint folders, names on the hub, or `tiny`.
        corpus: Corpus that they were trained on, from `kebyt5 corpus build`: PPM is trained on its
            training text, and its validation text is the unseen text.
        text: Plain text files to use as unseen text instead.
        examples: Largest number of examples of each source or file.
        input_length: Number of ids of an example.
        order: Bytes of PPM's longest context, at most 7.
        batch_size: Examples per batch.
        rounds: Number of timed training steps of each run, interleaved.
        output: An existing or new folder for the table (Markdown) and the plot (PNG).
    """
    from tempfile import TemporaryDirectory

    from kebyt5.bench.pretrained import compare_pretrained, unseen_text
    from kebyt5.bench.pretrained_report import plot_pretrained, report_pretrained
    from kebyt5.corpus.shards import Shards
    from kebyt5.output import make_output_folder
    from kebyt5.pretraining.validation import Validation, validation_shards

    if not models:
        raise InputError("there is no model to compare; name one or more checkpoints")
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
            raise InputError(
                "there is no text to measure on; give --text, or a --corpus with validation text"
            )
        validation = Validation(unseen, examples, batch_size, input_length)
        found = compare_pretrained(models, validation, train, order, rounds)
    publish_in(folder, "pretrained", report_pretrained(found), partial(plot_pretrained, found))


def quality(
    recipe: Path = Path("scripts/quality.yaml"),
    /,
    *,
    runs: Path = Path("runs/quality"),
    jobs: PositiveInt = 1,
    tables: Annotated[tuple[str, ...], Several] = (),
    available: bool = False,
    output: Path = Path("docs/results"),
) -> None:
    """Fine-tune several starts on several tasks with several seeds: mean, deviation, seconds.

    Writes `klue-small.md` with a plot. Runs that were done before with the same settings and
    weights are not repeated, so to continue a killed call, give it again.

    ```bash
    KEBYT5_DATA=... kebyt5 bench quality
    KEBYT5_DATA=... kebyt5 bench quality --available --tables "Pretrained or not"
    kebyt5 bench quality mine.yaml --runs runs/mine --output results
    ```

    Args:
        recipe: A YAML file with the tables, rows and settings.
        runs: A folder for the results of the single runs.
        jobs: Number of parallel runs, which share the cores.
        tables: Titles of the tables to make; by default all.
        available: Leave out rows whose start does not exist, instead of pretraining it or failing;
            the page names them.
        output: An existing or new folder for the page (Markdown) and the plot (PNG).
    """
    from kebyt5.bench.quality import (
        available_rows,
        measure_quality,
        read_recipe,
        select_tables,
    )
    from kebyt5.bench.quality_report import plot_quality, report_quality
    from kebyt5.output import make_output_folder

    content = read_recipe(recipe)
    content = select_tables(content, tables) if tables else content
    content, left_out = available_rows(content, runs) if available else (content, [])
    folder = make_output_folder(output, may_continue=True)
    results = measure_quality(content, runs, jobs)
    text = report_quality(content, results, left_out)
    publish_in(folder, "klue-small", text, partial(plot_quality, content, results))


def serve(
    checkpoint: str = "tiny",
    *,
    preset: Size | None = None,
    clients: PositiveInt = 64,
    minutes: PositiveFloat = 5.0,
    cancelled: NonNegativeFloat = 0.1,
    questions: PositiveInt = 64,
    output: Path | None = None,
) -> None:
    """Start a server and put it under load: wrong answers, latencies, throughput, memory.

    By default one client alone and then 64 clients for five minutes; seven minutes in all.

    ```bash
    kebyt5 bench serve --output docs/results
    kebyt5 bench serve runs/ner --clients 16 --minutes 1
    kebyt5 bench serve --preset base --questions 24 --output docs/results
    ```

    Args:
        checkpoint: A folder, a name on the hub, or `tiny`, the model that kebyt5 ships.
        preset: Widen the checkpoint to this size first: it gives the same answers at the cost of
            that size. The checkpoint has to be `tiny` or fine-tuned from it.
        clients: Number of simultaneous clients.
        minutes: Duration of the load.
        cancelled: Share of the requests that are cancelled early.
        questions: Number of different requests, which Transformers answers beforehand.
        output: An existing or new folder for the page (Markdown) and the plot (PNG).
    """
    from kebyt5.bench.serve import Load, bench_serve, enlarged
    from kebyt5.bench.serve_report import plot_serve, report_serve
    from kebyt5.output import make_output_folder

    if cancelled > 1:
        raise InputError(f"--cancelled {cancelled}: has to be a share, at most 1")
    folder = make_output_folder(output, may_continue=True) if output else None
    with enlarged(preset, checkpoint) as served:
        endurance = bench_serve(served, Load(clients, 60 * minutes, cancelled), questions)
    shown = f"{checkpoint}, widened to {preset}" if preset else checkpoint
    text = report_serve(endurance, shown)
    name = f"bench-serve-{preset}" if preset else "bench-serve"
    publish_in(folder, name, text, partial(plot_serve, endurance))
