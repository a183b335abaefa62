"""`kebyt5 bench`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App
from cyclopts.types import PositiveInt

from kebyt5.cli.bench.common import Several, Size, publish
from kebyt5.cli.bench.components import gbst, kernels, make_examples, passes, queue, tokenizer
from kebyt5.cli.bench.end_to_end import losses, pretrained, quality, serve
from kebyt5.cli.bench.speed import Choice, copy, encode, generate, train
from kebyt5.errors import InputError

bench = App(
    name="bench",
    help="Compare kebyt5 with its alternatives, interleaved in one run.",
)
for command in (
    train,
    losses,
    encode,
    generate,
    copy,
    queue,
    passes,
    kernels,
    tokenizer,
    gbst,
    pretrained,
    quality,
    serve,
):
    bench.command(command)
bench.command(make_examples, name="examples")


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
    """Run all benchmarks of speed with their defaults, which takes hours, or one `--workload`.

    ```bash
    kebyt5 bench --workload klue-mrc --data klue-mrc-v1.1_dev.json
    kebyt5 bench train --lengths 512 1024 --output docs/results
    ```

    `klue-mrc` is the efficiency table of the published model card: how fast the plain and the GBST
    model are in training and inference on reading comprehension. With its defaults it takes about
    an hour on two cores.

    Args:
        workload: Only this benchmark.
        data: klue-mrc: a KLUE-MRC file; by default the development set in the folder that the
            environment variable KEBYT5_DATA names.
        examples: klue-mrc: number of real questions, spread over all lengths.
        lengths: klue-mrc: input bytes of the synthetic texts.
        presets: Sizes of the models.
        rounds: Interleaved rounds after a warm-up round.
        output: A folder for tables and plots.
    """
    from kebyt5.output import make_output_folder

    mrc_file = _mrc_file(data)
    folder = make_output_folder(output, may_continue=True)
    if workload is None:
        tokenizer(rounds=rounds, output=folder / "bench-tokenizer.md")
        make_examples(rounds=rounds, output=folder / "bench-examples.md")
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


def _mrc_file(data: Path | None) -> Path:
    if data is None:
        folder = os.environ.get("KEBYT5_DATA")
        if not folder:
            raise InputError(
                "klue-mrc needs data: give --data klue-mrc-v1.1_dev.json of the KLUE benchmark, or"
                " set KEBYT5_DATA to the folder that contains klue/klue-mrc-v1.1"
            )
        data = Path(folder, "klue", "klue-mrc-v1.1", "klue-mrc-v1.1_dev.json")
    if not data.is_file():
        raise InputError(f"{data}: no such file; give --data klue-mrc-v1.1_dev.json")
    return data


def _mrc(
    size: str, data: Path, examples: int, lengths: Sequence[int], rounds: int, folder: Path
) -> None:
    from kebyt5.bench.mrc import bench_mrc, real_texts, synthetic_text
    from kebyt5.bench.mrc_report import report_mrc

    workloads = [real_texts(data, examples), *map(synthetic_text, sorted(set(lengths)))]
    text = report_mrc(size, bench_mrc(size, workloads, rounds), rounds)
    publish(text, folder / f"bench-klue-mrc-{size}.md")


__all__ = ["bench"]
