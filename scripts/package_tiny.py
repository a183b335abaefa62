"""Makes the small model that kebyt5 ships from the folders of its pretraining runs.

    before=scripts/pretrain/records
    python scripts/package_tiny.py $before/{first,second,third,fourth,fifth,sixth} runs/LAST

writes the weights of the last of the runs, each of which goes on from the one before, in bfloat16
and a model card to `src/kebyt5/assets/tiny`. Of the others only `config.yaml` and `metrics.json`
are read, so these are kept in the repository. The same runs give the same bytes. They have to be on
the corpus of `scripts/corpus/tiny.yaml`, whose sources are named here.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import yaml

import kebyt5
from kebyt5.errors import InputError
from kebyt5.models.loading import SHIPPED
from kebyt5.output import write_text

MOST_BYTES = 25_000_000
"""Of the weights; the package is not to be larger for them."""

KLUE = "sentences of the training part, KLUE v1.1"
SOURCES = {  # the corpus's name: what it is, whose, under which licence
    "statutes": ("Korean statutes", "legalize-kr", "public work"),
    "reviews": ("film reviews", "e9t/nsmc", "CC0"),
    "petitions": ("petitions", "lovit/petitions_archive", "KOGL type 1"),
    "bible": ("Korean Revised Version, 1961", "scrollmapper/bible_databases", "public domain"),
    "documentation": (
        "technical documentation in Korean, some of it machine translated",
        "Python (PSF), TensorFlow, Kubernetes, React, D2L, Rust, Vue, TypeScript, Hugging Face"
        " course, Comprehensive Rust, Node.js",
        "PSF, Apache 2.0, CC BY 4.0, CC BY-SA 4.0, MIT",
    ),
    "treebank": ("training text of Korean GSD", "Universal Dependencies", "CC BY-SA 4.0"),
    "news-titles": ("news titles", "kocohub/korean-hate-speech", "CC BY-SA 4.0"),
    "camellia": ("동백꽃, Kim Yu-jeong", "statkclee", "public domain"),
    "klue-ynat": (KLUE + ", topics", "KLUE", "CC BY-SA 4.0"),
    "klue-nli": (KLUE + ", inference", "KLUE", "CC BY-SA 4.0"),
    "klue-sts": (KLUE + ", similarity", "KLUE", "CC BY-SA 4.0"),
    "klue-re": (KLUE + ", relations", "KLUE", "CC BY-SA 4.0"),
    "klue-mrc": (KLUE + ", reading comprehension", "KLUE", "CC BY-SA 4.0"),
    "klue-wos": (KLUE + ", dialogues", "KLUE", "CC BY-SA 4.0"),
    "klue-dp": (KLUE + ", dependencies", "KLUE", "CC BY-SA 4.0"),
    "klue-ner": (KLUE + ", entities", "KLUE", "CC BY-SA 4.0"),
}

CARD = """\
---
language: ko
license: cc-by-sa-4.0
library_name: kebyt5
tags: [kebyt5, byte-level, gbst]
---

# gbst-kebyt5-tiny

A GBST-KEByT5 of {millions:.1f} million parameters, pretrained on Korean text by kebyt5 itself:
d_model {d_model}, {layers} + {decoder_layers} layers, blocks of {blocks} bytes, {downsample} bytes
to an encoder position. It is stored in bfloat16; `kebyt5.load("tiny")` gives it in float32.

```bash
kebyt5 fill "한국의 수도는 <extra_id_0>이다."
kebyt5 finetune --task ner --train TRAIN.tsv --dev DEV.tsv --output runs/ner \\
  --learning-rate 1e-3 --freeze none --cycles 1 --dropout 0
```

## What it is not good for

It is there to try kebyt5 on, to test with, and to fine-tune on small tasks. It saw {seen:.0f} MB
of text, which is very little: it knows common words, endings and formulas, few facts, and it
invents names, dates and law. Nothing it writes may be relied on. Film reviews and petitions are
rough, and it may repeat their insults and prejudices. Of other languages it has seen scraps.

KLUE has no free test sets, and the sentences of KLUE below are 72 % of the official *development*
sets, without their labels. Scores on these files are of text that it has seen.

## Licence

CC BY-SA 4.0, the strictest licence of the text below, to be on the safe side; the code around it is
Apache-2.0.

## Text

{examples:,} examples. None of this text is part of the package.

| source | from | licence | MB | share | times seen | bits per byte |
|---|---|---|---:|---:|---:|---:|
{sources}

Bits per byte are those of the masked bytes in a hundredth of the documents that was held out,
teacher-forced, 15 % masked in spans of 20 on average, sentinels and end of sequence charged as
well{total}.

## Training

{stages}

    KEBYT5_DATA=… kebyt5 corpus build scripts/corpus/tiny.yaml
{commands}
    python scripts/package_tiny.py {runs}
"""

STAGE = """\
Span corruption: {density:.0%} of the bytes in spans of {mean_span:g} on average, inputs of
{input_length} ids{also}. {steps:,} steps of {batch_size} examples, {optimizer}, peak learning rate
{learning_rate:g} after {warmup_steps} steps of warm-up, then {schedule}; {hours:.1f} hours on
{cores} cores ({processor}), {date}, commit {commit}.
"""


class Run(NamedTuple):
    """A finished run of `kebyt5 pretrain`."""

    folder: Path
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]


def read_run(folder: Path) -> Run:
    """Reads what a run is and was.

    Raises:
        InputError: It is not finished, or has a source without a licence here.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        settings = yaml.safe_load(text)["pretrain"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{folder}: no finished run of `kebyt5 pretrain`: {error}") from error
    unknown = [source for source in metrics["sources"] if source not in SOURCES]
    if unknown:
        raise InputError(f"{folder}: no licence is known here of {', '.join(unknown)}; add it")
    return Run(folder, settings, metrics)


def package(folders: Sequence[Path], output: Path) -> None:
    """Writes the model of the last of some runs in bfloat16, with its card.

    Raises:
        InputError: A run is not finished, has a source without a licence here, or is too large.
    """
    runs = [read_run(folder) for folder in folders]
    for first, second in pairwise(runs):
        if first.metrics["sources"].keys() != second.metrics["sources"].keys():
            raise InputError(f"{second.folder}: other sources than in {first.folder}")
    model = kebyt5.load(folders[-1]).to(torch.bfloat16)
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=".incomplete-") as temporary:
        model.save_pretrained(temporary)
        size = Path(temporary, "model.safetensors").stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{folders[-1]}: {size:,} bytes in bfloat16, more than {MOST_BYTES:,}")
        for path in sorted(Path(temporary).iterdir()):
            path.chmod(0o644)
            path.replace(output / path.name)
    write_text(output / "README.md", card(runs, model.config))


def card(runs: Sequence[Run], config: Any) -> str:
    """The model card."""
    last = runs[-1].metrics
    bits = last["bits_per_byte"]
    rows = []
    for source, about in last["sources"].items():
        seen = sum(m["sources"][source]["share"] * m["bytes_seen"] for _, _, m in runs)
        cells = [
            *SOURCES[source], f"{about['bytes'] / 1e6:.1f}", f"{about['share']:.1%}",
            f"{seen / about['bytes']:.2f}", f"{bits[source]:.2f}" if source in bits else "",
        ]  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    blocks = [str(size) for size, _ in config.blocks]
    return CARD.format(
        millions=last["parameters"] / 1e6,
        d_model=config.d_model,
        layers=config.num_layers,
        decoder_layers=config.num_decoder_layers,
        blocks=", ".join(blocks[:-1]) + " and " + blocks[-1],
        downsample=config.downsample_factor,
        seen=sum(run.metrics["bytes_seen"] for run in runs) / 1e6,
        examples=sum(run.metrics["examples"] for run in runs),
        sources="\n".join(rows),
        total=f"; {bits['all']:.3f} over all sources" if bits else "",
        stages="\nThen, from where that ended. ".join(map(stage, runs)).rstrip(),
        commands="\n".join(f"    {run.metrics['made']['command']}" for run in runs),
        runs=" ".join(str(run.folder) for run in runs),
    )


def stage(run: Run) -> str:
    """What the card says of the training in one run."""
    _, settings, metrics = run
    made = metrics["made"]
    return STAGE.format(
        also=share(settings, "copy", "to be copied")
        + share(settings, "lookup", "that ask for the words around sentinels")
        + ends(settings),
        steps=metrics["steps"],
        hours=metrics["seconds"] / 3600,
        cores=made["machine"]["cores"],
        processor=made["machine"]["processor"],
        date=made["date"][:10],
        commit=(made["commit"] or "unknown")[:12],
        **{
            name: settings[name]
            for name in (
                "batch_size", "density", "input_length", "learning_rate", "mean_span", "optimizer",
                "schedule", "warmup_steps",
            )
        },
    )  # fmt: skip


def ends(settings: Mapping[str, Any]) -> str:
    """What the card says of the examples whose text ends early."""
    share = settings.get("short", 0)
    return f"; {share:.0%} of the texts end early" if share else ""


def share(settings: Mapping[str, Any], kind: str, what: str) -> str:
    """What the card says of the examples of a kind; runs of before it was known had none."""
    usual, early = settings.get(kind, 0), settings.get(f"early_{kind}")
    said = f"; {usual:.0%} of the examples {what}" if usual or early else ""
    if early is not None:
        said += f", {early:.0%} at first and evenly fewer over {settings['early_steps']:,} steps"
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--output", type=Path, default=SHIPPED["tiny"])
    arguments = parser.parse_args()
    try:
        package(arguments.runs, arguments.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
