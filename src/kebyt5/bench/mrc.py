"""The efficiency table of the published model card, on reading comprehension (KLUE-MRC).

The card states how many times faster the GBST model is than the plain one in training and
inference, on an A100 and with contexts of up to 6,800 bytes. Here both run on this machine, on real
texts of real lengths, one at a time. Weights are random, so inference decodes exactly as many bytes
as the reference answer has.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from kebyt5.bench.alternatives import ALTERNATIVES
from kebyt5.bench.measure import Ratio, Rounds, interleave_parts, ratio
from kebyt5.bench.memory import available_memory
from kebyt5.bench.models import Alternative
from kebyt5.bench.speed import MEMORY_SHARE, Case, memory_needed
from kebyt5.bench.weights import Weights
from kebyt5.bench.workload import SENTENCES, Batch
from kebyt5.errors import InputError
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.progress import progress_bars
from kebyt5.tasks import Example, get_task
from kebyt5.tasks.squad import Answers

PUBLISHED = {"training": 2.74, "inference": 1.46}
"""Speed of the card's GBST model relative to the plain one, on an A100."""

PLAIN, GBST = "kebyt5", "kebyt5-gbst"


@dataclass(frozen=True)
class Texts:
    """Texts that are measured together.

    Attributes:
        title: Description of the texts.
        batches: Batches of one text each.
    """

    title: str
    batches: list[Batch]

    @property
    def longest(self) -> tuple[int, int]:
        """Largest number of bytes in, and of bytes out."""
        return (
            max(batch.input_ids.shape[1] for batch in self.batches),
            max(batch.labels.shape[1] for batch in self.batches),
        )


@dataclass(frozen=True)
class Efficiency:
    """Measurements of the plain and the GBST model on the same texts.

    Attributes:
        texts: The texts.
        rounds: Seconds per round of "training" and "inference", for each model that fits in memory.
        needs: Bytes of memory that each other model would need.
    """

    texts: Texts
    rounds: dict[str, Rounds]
    needs: dict[str, int]

    def samples_per_second(self, name: str, part: str) -> float | None:
        """Returns the median samples per second over rounds; None if the model was not run."""
        if name not in self.rounds:
            return None
        return len(self.texts.batches) / statistics.median(self.rounds[name][part])

    def ratio(self, part: str) -> Ratio | None:
        """Returns the speed of the GBST model relative to the plain one, if both were run."""
        if len(self.rounds) < 2:
            return None
        return ratio(self.rounds[PLAIN][part], self.rounds[GBST][part])


def real_texts(path: Path, count: int) -> Texts:
    """Chooses questions of a KLUE-MRC file at evenly spaced ranks of their length.

    Raises:
        InputError: The file cannot be read as KLUE-MRC.
    """
    task = get_task("mrc")
    pairs = [(task.input_text(e), task.target_text(e)) for e in task.read(path)]
    pairs.sort(key=lambda pair: (len(pair[0].encode()), pair))
    count = min(count, len(pairs))
    chosen = [pairs[(2 * i + 1) * len(pairs) // (2 * count)] for i in range(count)]
    every = [len(source.encode()) + 1 for source, _ in pairs]
    batches = [_batch(*pair) for pair in chosen]
    lengths = [batch.input_ids.shape[1] for batch in batches]
    title = (
        f"KLUE-MRC: {count} of {len(pairs):,} questions ({path.name}), {min(lengths):,} to"
        f" {max(lengths):,} bytes, mean {statistics.mean(lengths):,.0f} (all: up to"
        f" {max(every):,}, mean {statistics.mean(every):,.0f})"
    )
    return Texts(title, batches)


def synthetic_text(length: int) -> Texts:
    """Makes a question whose context consists of sentences written for this project.

    Args:
        length: Size of the input in bytes, end of sequence included.

    Raises:
        InputError: The question and the prompt alone are longer.
    """
    mrc = get_task("mrc")
    sentences = [example.inputs["sentence"] for example in get_task("ner").read(SENTENCES)]

    def source(context: str) -> str:
        return mrc.input_text(mrc.example(question="이 글은 무엇을 다루는가?", context=context))

    room = length - 1 - len(source("").encode())
    if room < 1:
        raise InputError(f"--lengths: {length} bytes leave no room for a context in the prompt")
    prose = " ".join(sentences) + " "
    prose *= 1 + room // len(prose.encode())
    context = prose.encode()[:room].decode(errors="ignore")
    context += "." * (room - len(context.encode()))
    target = mrc.target_text(Example("", {"question": "", "context": ""}, Answers(("소식",))))
    return Texts(f"Synthetic: {length:,} bytes of sentences written for this project",
                 [_batch(source(context), target)])  # fmt: skip


def _batch(source: str, target: str) -> Batch:
    tokenizer = ByteTokenizer()
    inputs, labels = (torch.tensor([tokenizer(text).input_ids]) for text in (source, target))
    return Batch(inputs, torch.ones_like(inputs), labels)


def bench_mrc(
    size: str, workloads: Sequence[Texts], rounds: int, memory: int | None = None
) -> list[Efficiency]:
    """Measures training and inference of the plain and the GBST model on each set of texts.

    Args:
        size: One of `weights.SIZES`.
        workloads: Sets of texts.
        rounds: Interleaved rounds after a warm-up round.
        memory: Bytes of memory that may be used; by default all that is free.
    """
    room = MEMORY_SHARE * (available_memory() if memory is None else memory)
    weights = Weights.draw(size)
    results = []
    with progress_bars() as progress:
        task = progress.add_task("klue-mrc", total=2 * len(workloads) * (rounds + 1))

        def tell(texts: Texts, name: str) -> None:
            progress.update(task, description=f"{texts.title.split(':')[0]}: {name}", advance=1)

        for texts in workloads:
            case = Case(size, 1, *texts.longest)
            needs = {name: memory_needed("train", name, case, 0.0) for name in (PLAIN, GBST)}
            fitting: dict[str, Callable[[], dict[str, float]]] = {
                name: partial(run_texts, ALTERNATIVES[name](weights), texts)
                for name in needs
                if needs[name] <= room
            }
            seconds = interleave_parts(fitting, rounds, partial(tell, texts))
            too_large = {name: bytes_ for name, bytes_ in needs.items() if name not in fitting}
            results.append(Efficiency(texts, seconds, too_large))
    return results


def run_texts(runner: Alternative, texts: Texts) -> dict[str, float]:
    """Trains on every text once, then answers every text once; returns the seconds of each part."""
    began = time.perf_counter()
    for batch in texts.batches:
        runner.train(batch)
    trained = time.perf_counter()
    for batch in texts.batches:
        runner.generate(batch, batch.labels.shape[1], lambda: None)
    return {"training": trained - began, "inference": time.perf_counter() - trained}
