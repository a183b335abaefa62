"""Comparing pretrained models with each other, and with PPM, on unseen text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from kebyt5.bench.blanks import Filled, fill_blanks, make_blanks
from kebyt5.bench.curves import Curve, comparable, measure_steps, read_config, read_curves
from kebyt5.bench.ppm import PPM
from kebyt5.corpus.shards import Shards, ShardWriter
from kebyt5.errors import InputError
from kebyt5.models.loading import load
from kebyt5.models.tokenization_kebyt5 import EOS, LAST_SENTINEL, OFFSET, PAD
from kebyt5.pretraining.validation import Validation
from kebyt5.progress import track
from kebyt5.tasks.files import read_text

LENGTHS = ((1, 3), (4, 9), (10, 20), (21, None))
"""Classes of span lengths in bytes; a Korean syllable has 3."""


@dataclass
class Infilling:
    """How many spans a model writes exactly, by their length.

    Attributes:
        spans: Number of spans in each class of `LENGTHS`.
        exact: Number of these that the model writes byte for byte.
    """

    spans: list[int] = field(default_factory=lambda: [0] * len(LENGTHS))
    exact: list[int] = field(default_factory=lambda: [0] * len(LENGTHS))

    def add(self, span: bytes, written: bytes | None) -> None:
        """Counts a span and what the model wrote for it; None if it wrote nothing."""
        place = sum(len(span) > last for _, last in LENGTHS if last is not None)
        self.spans[place] += 1
        self.exact[place] += span == written


@dataclass
class Pretrained:
    """All measurements of pretrained models.

    Attributes:
        examples: Number of examples.
        input_length: Number of ids of an example.
        order: Order of PPM.
        trained_bytes: Bytes of text that PPM was trained on; 0 without PPM.
        bits: Bits per byte by model and source, and in all under `all`; PPM is one of the models.
        infilling: By model, how well it fills all spans of an example at once.
        blanks: By model and kind, how well it fills a single blank.
        curves: Curves of the runs, if there are several to compare.
    """

    examples: int
    input_length: int
    order: int
    trained_bytes: int = 0
    bits: dict[str, dict[str, float]] = field(default_factory=dict)
    infilling: dict[str, Infilling] = field(default_factory=dict)
    blanks: dict[str, dict[str, Filled]] = field(default_factory=dict)
    curves: Sequence[Curve] = ()


def compare_pretrained(
    names: Sequence[str], validation: Validation, train: Shards | None, order: int, rounds: int
) -> Pretrained:
    """Measures models and, if there is text that they were trained on, PPM and their curves.

    Args:
        names: Checkpoints; folders of pretraining runs also have curves.
        validation: Examples to measure on.
        train: Text that the models were trained on, for PPM; None for neither PPM nor
            curves.
        order: Order of PPM.
        rounds: Number of timed training steps of each run.
    """
    found = Pretrained(
        sum(len(numbers) for _, numbers in validation.batches),
        validation.examples.input_length or 0,
        order,
    )
    models = {short_name(name, names): load(name) for name in names}
    blanks = make_blanks(texts_of(validation))
    for title, model in models.items():
        found.bits[title] = validation.bits_per_byte(model)
        found.infilling[title] = infill(model, validation, f"Infilling ({title})")
        found.blanks[title] = fill_blanks(model, blanks, f"One blank at a time ({title})")
    if train is None:
        return found
    found.trained_bytes = train.bytes
    ppm = train_ppm(train, order)
    found.bits[f"PPM, order {order}"] = ppm_bits_per_byte(ppm, validation)
    runs = {
        title: Path(name)
        for title, name in zip(models, names, strict=True)
        if Path(name, "history.jsonl").is_file()
    }
    settings = comparable({title: read_config(run) for title, run in runs.items()})
    runs = {title: runs[title] for title in settings}
    if len(runs) > 1:
        seconds = measure_steps({title: models[title] for title in runs}, settings, train, rounds)
        found.curves = read_curves(runs, seconds)
    return found


def short_name(name: str, names: Sequence[str]) -> str:
    """Returns the last part of a path, or the whole path if others end in the same part."""
    last = [Path(other).name for other in names]
    return Path(name).name if last.count(Path(name).name) == 1 else name


def unseen_text(files: Sequence[Path], folder: Path) -> Shards:
    """Makes shards of plain text files, each of which becomes a source.

    Raises:
        InputError: A file cannot be read, is empty, or has the same name as another.
    """
    for path in files:
        text = read_text(path).strip()
        if not text:
            raise InputError(f"{path}: the file is empty; give a file with Korean text")
        if (folder / path.stem).exists():
            raise InputError(f"{path}: a second file called {path.stem}; rename one of them")
        with ShardWriter(folder / path.stem, "0") as writer:
            writer.write(text)
    return Shards(folder)


def train_ppm(shards: Shards, order: int) -> PPM:
    """Trains PPM on all bytes of a corpus, ignoring the weights of its sources."""
    every = track(list(shards), f"Counting contexts of {order} bytes")
    return PPM((shard.data for shard in every), order)


def ppm_bits_per_byte(model: PPM, validation: Validation) -> dict[str, float]:
    """Computes PPM's bits per masked byte of the validation examples, by source and in `all`.

    Each masked byte is predicted from the true text to its left within the example, whereas a model
    that fills spans sees both sides. PPM does not have to predict sentinels.
    """
    sums: dict[str, np.ndarray] = {}
    for name, numbers in validation.batches:
        inputs, labels = validation.examples.of_source(name, numbers)
        for row in zip(inputs, labels, strict=True):
            text, places = masked_text(*row)
            cost = np.array([model.bits(text, places).sum(), len(places)])
            sums[name] = sums.get(name, np.zeros(2)) + cost
    total = np.sum(list(sums.values()), axis=0)
    return {name: bits / size for name, (bits, size) in (sums | {"all": total}).items()}


@torch.inference_mode()
def infill(model: PreTrainedModel, validation: Validation, title: str) -> Infilling:
    """Generates all spans of the validation examples greedily and counts the correct ones."""
    result = Infilling()
    for name, numbers in track(validation.batches, title):
        inputs, labels = validation.examples.of_source(name, numbers)
        input_ids = torch.from_numpy(inputs).to(model.device)
        written = model.generate(
            input_ids=input_ids,
            attention_mask=input_ids.ne(PAD).long(),
            max_new_tokens=labels.shape[1],
            do_sample=False,
            num_beams=1,
        )
        for target, ids in zip(labels, written.cpu().numpy(), strict=True):
            found = dict(spans_of(ids))
            for sentinel, span in spans_of(target):
                result.add(span, found.get(sentinel))
    return result


def texts_of(validation: Validation) -> Iterator[str]:
    """Yields the original text of every example, without incomplete characters at its ends."""
    for name, numbers in validation.batches:
        for row in zip(*validation.examples.of_source(name, numbers), strict=True):
            yield masked_text(*row)[0].tobytes().decode(errors="ignore")


def spans_of(target: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Yields sentinel and bytes of every span of a target or model output (T,), up to `</s>`."""
    ends = np.flatnonzero(target == EOS)
    ids = target[: ends[0]] if len(ends) else target
    starts = np.flatnonzero(ids >= LAST_SENTINEL)
    for span in np.split(ids, starts)[1:]:
        content = span[1:][span[1:] >= OFFSET]
        yield int(span[0]), (content - OFFSET).astype(np.uint8).tobytes()


def masked_text(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Restores the original text of an example.

    Args:
        inputs: Input ids, (I,), with sentinels and padding.
        labels: Target ids, (T,).

    Returns:
        The bytes of the text, uint8 (n,), and the indices of the masked ones, (m,).
    """
    ids = inputs[inputs >= OFFSET]
    first, *rest = np.split(ids, np.flatnonzero(ids >= LAST_SENTINEL))
    parts, masks = [first], [np.zeros(len(first), bool)]
    for (_, span), kept in zip(spans_of(labels), rest, strict=True):
        masked = np.frombuffer(span, np.uint8).astype(np.int64) + OFFSET
        parts += [masked, kept[1:]]
        masks += [np.ones(len(masked), bool), np.zeros(len(kept) - 1, bool)]
    text = np.concatenate(parts) - OFFSET
    return text.astype(np.uint8), np.flatnonzero(np.concatenate(masks))
