"""Benchmarks of all alternatives: `kebyt5 bench train`, `encode`, `generate` and `copy`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeFloat, PositiveInt

from kebyt5.cli.bench.common import Several, Size, chosen_alternatives, publish_in


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to measure, and where to write it.

    Attributes:
        presets: Sizes of the models.
        lengths: Input bytes; several lengths add a plot and a fitted exponent.
        batch_sizes: Texts per batch.
        output_bytes: Bytes that are trained on, or generated, for every text.
        alternatives: Names as in the documentation; by default all.
        rounds: Interleaved rounds after a warm-up round.
        output: An existing or new folder for the table (Markdown) and the plot (PNG).
    """

    presets: Annotated[tuple[Size, ...], Several] = ("base",)
    lengths: Annotated[tuple[PositiveInt, ...], Several] | None = None
    batch_sizes: Annotated[tuple[PositiveInt, ...], Several] | None = None
    output_bytes: PositiveInt | None = None
    alternatives: Annotated[tuple[str, ...], Several] | None = None
    rounds: PositiveInt = 5
    output: Path | None = None


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
        dropout: Dropout rate.
    """
    _speed("train", choice, (512, 1024), (1,), 128, dropout)


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


def generate(choice: Choice = Choice()) -> None:
    """Compare greedy generation with nothing to copy: encoding, milliseconds per byte, total.

    By default 64 bytes out of 1,024, batch 1 and 8, which takes an hour on two cores.

    ```bash
    kebyt5 bench generate --batch-sizes 1 --output docs/results
    ```

    Args:
        choice: What to measure.
    """
    _speed("generate", choice, (1024,), (1, 8), 64)


def copy(choice: Choice = Choice(), *, checkpoint: str = "tiny") -> None:
    """Compare greedy generation by a model that copies: a small one, widened to the size.

    By default 64 bytes out of 1,024, batch 1 and 8, which takes an hour on two cores.

    ```bash
    kebyt5 bench copy --batch-sizes 1 --output docs/results
    kebyt5 bench copy --checkpoint runs/ner --alternatives transformers-sdpa kebyt5-gbst-engine
    ```

    Args:
        choice: What to measure.
        checkpoint: `tiny`, the model that kebyt5 ships, or a folder of a model fine-tuned from it,
            which copies better.
    """
    _speed("copy", choice, (1024,), (1, 8), 64, checkpoint=checkpoint)


def _speed(
    measure: str, choice: Choice, lengths: tuple[int, ...], batch_sizes: tuple[int, ...],
    output_bytes: int, dropout: float = 0.0, checkpoint: str = "tiny",
) -> None:  # fmt: skip
    """Runs one measure, prints its page and, if asked, writes it with its plot."""
    from kebyt5.bench.speed import Case, bench_speed
    from kebyt5.bench.speed_report import MAIN_PART, plot_speed, report_speed
    from kebyt5.output import make_output_folder

    folder = make_output_folder(choice.output, may_continue=True) if choice.output else None
    outputs = choice.output_bytes or output_bytes
    cases = [
        Case(size, batch_size, length, outputs)
        for size in choice.presets
        for batch_size in choice.batch_sizes or batch_sizes
        for length in sorted(set(choice.lengths or lengths))
    ]
    names = chosen_alternatives(choice.alternatives)
    speed = bench_speed(measure, names, cases, choice.rounds, dropout, checkpoint=checkpoint)
    text = report_speed(speed)
    has_plot = MAIN_PART[measure] == "total" or len({case.length for case in cases}) > 1
    plot = partial(plot_speed, speed) if has_plot else None
    publish_in(folder, f"bench-{measure}", text, plot)
