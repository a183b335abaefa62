"""Measuring training steps, encoding and generation of all alternatives.

Run as a module, it runs one alternative once in a fresh process and prints the seconds of that
first, cold run and the peak of its memory:
`python -m kebyt5.bench.speed MEASURE ALTERNATIVE SIZE WEIGHTS BATCH LENGTH OUTPUT DROPOUT`.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.floor import Machine, floor_parts
from kebyt5.bench.measure import (
    FreshProcessError,
    Rounds,
    in_fresh_process,
    interleave_parts,
    peak_memory_of,
    return_freed_memory,
    seconds_of,
)
from kebyt5.bench.memory import available_memory, rehearse
from kebyt5.bench.models import Alternative
from kebyt5.bench.weights import Weights, gbst_config, plain_config
from kebyt5.bench.workload import Batch, copying_batch, random_batch
from kebyt5.generation.request import GenerationStatistics
from kebyt5.process import prepare_process
from kebyt5.progress import progress_bars

MEMORY_SHARE = 0.92
"""Share of the free memory that an estimate may fill; allocators and kernels need the rest."""

FLOORS = {"floor, plain": plain_config, "floor, GBST": gbst_config}

Generate = Callable[[Batch, int, Callable[[], None]], list[list[int]]]


class Case(NamedTuple):
    """A case to measure: model size, batch size, and bytes of each input and output."""

    size: str
    batch_size: int
    length: int
    outputs: int


@dataclass
class Result:
    """Measurements of one alternative, or one floor, in one case.

    Attributes:
        case: The case.
        name: Name of the alternative or the floor.
        rounds: Seconds per round by part; empty if it was not run.
        cold: Seconds of the first run in a fresh process.
        peak: Peak memory of that process in bytes.
        needs: Bytes of memory that it would need, if there are not as many.
        statistics: The engine's counts of how the bytes of the last round were generated.
    """

    case: Case
    name: str
    rounds: Rounds = field(default_factory=dict)
    cold: float | None = None
    peak: int | None = None
    needs: int | None = None
    statistics: GenerationStatistics | None = None

    def median(self, part: str) -> float:
        """Computes the median seconds of a part."""
        return statistics.median(self.rounds[part])


@dataclass
class Speed:
    """One measure and all its results.

    Attributes:
        measure: "train", "encode", "generate" or "copy".
        rounds: Interleaved rounds after a warm-up round.
        dropout: Dropout rate in training.
        checkpoint: The small model that is widened to each size, for copies.
        results: Case by case, alternative by alternative.
        machine: Rates of the machine, measured in between.
        losses: First loss of each alternative by case, in training.
    """

    measure: str
    rounds: int
    dropout: float = 0.0
    checkpoint: str = "tiny"
    results: list[Result] = field(default_factory=list)
    machine: Machine = field(default_factory=Machine)
    losses: dict[tuple[Case, str], float] = field(default_factory=dict)


def bench_speed(
    measure: str,
    names: Sequence[str],
    cases: Sequence[Case],
    rounds: int,
    dropout: float = 0.0,
    memory: int | None = None,
    checkpoint: str = "tiny",
) -> Speed:
    """Measures alternatives and floors in every case.

    Args:
        measure: "train", "encode", "generate" or "copy".
        names: Names of alternatives; those that do not support the measure are left out.
        cases: Cases, grouped by size.
        rounds: Interleaved rounds after a warm-up round.
        dropout: Dropout rate in training.
        memory: Bytes of memory that may be used; by default all that is free.
        checkpoint: The model to widen to each size, for copies.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        InputError: The checkpoint cannot be widened.
    """
    names = [name for name in names if measure in ALTERNATIVES[name].does]
    speed = Speed(measure, rounds, dropout, checkpoint)
    copying = partial(Weights.copying, checkpoint=checkpoint)
    make_weights = copying if measure == "copy" else Weights.draw
    with progress_bars() as progress:
        runs = len(cases) * (len(names) * (rounds + 2) + len(FLOORS) * (rounds + 1))
        task = progress.add_task(measure, total=runs)

        def tell(case: Case, name: str) -> None:
            where = f"{case.size}, batch {case.batch_size}, {case.length:,} bytes"
            progress.update(task, description=f"{measure}: {where}: {name}", advance=1)

        for size in dict.fromkeys(case.size for case in cases):
            with tempfile.TemporaryDirectory(prefix="kebyt5-bench-") as folder:
                file = Path(folder, "weights.safetensors")
                make_weights(size).save(file)
                return_freed_memory()
                of_size = [case for case in cases if case.size == size]
                room = MEMORY_SHARE * (available_memory() if memory is None else memory)
                alone: dict[Case, list[Result]] = {case: [] for case in of_size}
                for name in names:
                    most = ALTERNATIVES[name].largest_batch
                    possible = [case for case in of_size if most is None or case.batch_size <= most]
                    too_large = misfits(speed, name, possible, room)
                    for case in possible:
                        tell(case, f"{name} alone")
                        needs = too_large.get(case)
                        alone[case].append(_run_alone(speed, name, case, file, needs))
                weights = Weights.read(size, file)
            runners: dict[str, Alternative] = {}
            for case, results in alone.items():
                speed.results += _run_together(
                    speed, case, results, weights, runners, partial(tell, case)
                )
            del weights, runners
    return speed


def batch_for(measure: str, case: Case) -> Batch:
    """Makes the inputs of a case."""
    make = copying_batch if measure == "copy" else random_batch
    return make(case.batch_size, case.length, case.outputs)


def misfits(speed: Speed, name: str, cases: Sequence[Case], room: float) -> dict[Case, int]:
    """Finds the cases of one size that do not fit in memory, and the bytes that they need."""
    fitting: list[Case] = []
    needed = {}
    for case in sorted(cases, key=lambda case: case.batch_size * case.length, reverse=True):
        if any(all(a >= b for a, b in zip(c[1:], case[1:], strict=True)) for c in fitting):
            continue  # a larger case fits, so no rehearsal is needed
        needs = memory_needed(speed.measure, name, case, speed.dropout)
        if needs > room:
            needed[case] = needs
        else:
            fitting.append(case)
    return needed


def _run_alone(speed: Speed, name: str, case: Case, weights: Path, needs: int | None) -> Result:
    """Measures the first run in a fresh process, unless it needs more memory than there is."""
    result = Result(case, name, needs=needs)
    if needs is None:
        numbers = [str(number) for number in (*case[1:], speed.dropout)]
        try:
            result.cold, result.peak = in_fresh_process(
                "kebyt5.bench.speed", speed.measure, name, case.size, str(weights), *numbers
            )
        except FreshProcessError as error:
            if not error.was_killed:
                raise
            result.needs = memory_needed(speed.measure, name, case, speed.dropout)
    return result


def memory_needed(measure: str, name: str, case: Case, dropout: float) -> int:
    """Estimates the bytes that a process needs to run this, by a rehearsal without values."""
    alternative = ALTERNATIVES[name].rehearsal or ALTERNATIVES[name]

    def make_case() -> Callable[[], Any]:
        runner = alternative(Weights.unset(case.size), dropout)
        batch = batch_for(measure, case)
        # Decoding a byte takes little memory compared with the encoder.
        return partial(runner.train if measure == "train" else runner.encode, batch)

    return rehearse(make_case)


def _run_together(
    speed: Speed, case: Case, results: list[Result], weights: Weights,
    runners: dict[str, Alternative], tell: Callable[[str], None],
) -> Iterator[Result]:  # fmt: skip
    """Measures the alternatives that fit in memory, and the floors, in interleaved rounds."""
    batch = batch_for(speed.measure, case)
    parts: dict[str, Callable[[], dict[str, float]]] = {}
    for result in results:
        if result.needs is None:
            if result.name not in runners:
                runners[result.name] = ALTERNATIVES[result.name](weights, speed.dropout)
            parts[result.name] = partial(_parts, speed, case, result.name, runners[result.name],
                                         batch)  # fmt: skip
    shape = case.batch_size, case.length, case.outputs
    for name, make_config in FLOORS.items():
        parts[name] = partial(_floor, speed, make_config(case.size), shape)
    seconds = interleave_parts(parts, speed.rounds, tell)
    for result in results:
        result.rounds = seconds.get(result.name, {})
        result.statistics = getattr(runners.get(result.name), "statistics", None)
        yield result
    for name in FLOORS:
        yield Result(case, name, seconds[name])


def _floor(speed: Speed, config: Any, shape: tuple[int, int, int]) -> dict[str, float]:
    speed.machine.forget()
    return floor_parts(speed.machine, speed.measure, config, shape)


def _parts(
    speed: Speed, case: Case, name: str, runner: Alternative, batch: Batch
) -> dict[str, float]:
    """Runs one alternative once and returns the seconds of its parts."""
    if speed.measure == "train":
        began = time.perf_counter()
        loss = runner.train(batch)
        seconds = time.perf_counter() - began
        speed.losses.setdefault((case, name), float(loss))
        return {"step": seconds}
    if speed.measure == "encode":
        return {"encode": seconds_of(partial(runner.encode, batch))}
    generate = runner.copy if speed.measure == "copy" else runner.generate
    return generation_parts(generate, batch, case.outputs)


def generation_parts(generate: Generate, batch: Batch, length: int) -> dict[str, float]:
    """Measures the seconds of a generation.

    Returns:
        encode: Seconds until the first byte, less the time to decode it.
        byte: Seconds per byte.
        total: Seconds in all.
    """
    times = [time.perf_counter()]
    generate(batch, length, lambda: times.append(time.perf_counter()))
    began, first, last = times[0], times[1], times[-1]
    byte = (last - first) / max(1, length - 1)
    return {"encode": first - began - byte, "byte": byte, "total": last - began}


def run_alone(arguments: Sequence[str]) -> tuple[float, int]:
    """Does the work of the fresh process; returns seconds of the first run and peak bytes."""
    measure, name, size, weights, *numbers = arguments
    batch_size, length, outputs = map(int, numbers[:3])
    prepare_process()
    runner = ALTERNATIVES[name](Weights.read(size, Path(weights)), float(numbers[3]))
    return_freed_memory()  # memory that was needed only to make the runner
    batch = batch_for(measure, Case(size, batch_size, length, outputs))
    run: dict[str, Callable[[], Any]] = {
        "train": partial(runner.train, batch),
        "encode": partial(runner.encode, batch),
        "generate": partial(runner.generate, batch, outputs, lambda: None),
        "copy": partial(runner.copy, batch, outputs, lambda: None),
    }
    seconds: list[float] = []
    peak = peak_memory_of(lambda: seconds.append(seconds_of(run[measure])))
    return seconds[0], peak


if __name__ == "__main__":
    print(json.dumps(run_alone(sys.argv[1:])))
