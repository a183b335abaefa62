"""Makes the small model that kebyt5 ships from the folder of its pretraining run.

    python scripts/package_tiny.py runs/gbst-kebyt5-tiny

writes weights in bfloat16 and a model card to `src/kebyt5/assets/tiny`. The same run gives the same
bytes. The run has to be on the corpus of `scripts/corpus/tiny.yaml`, whose sources are named here.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
kebyt5 finetune --task ner --train TRAIN.tsv --dev DEV.tsv --output runs/ner
```

## What it is not good for

It is there to try kebyt5 on, to test with, and to fine-tune on small tasks. It saw {seen:.0f} MB
of text, which is very little: it knows common words, endings and formulas, few facts, and it
invents names, dates and law. Nothing it writes may be relied on. Film reviews and petitions are
rough, and it may repeat their insults and prejudices. Of other languages it has seen scraps.

It fills blanks only as they were in its training, so many of them in so long a text. Where there
are fewer it writes out what it reads instead: docs/results/pretrained.md has its bits per byte
with 15 % masked, beside PPM. Fine-tuning is what it is for.

KLUE has no free test sets, and the sentences of KLUE below are 72 % of the official *development*
sets, without their labels. Scores on these files are of text that it has seen.

## Licence

CC BY-SA 4.0, the strictest licence of the text below, to be on the safe side; the code around it is
Apache-2.0.

## Text

{examples:,} examples of {raw_length:,} bytes. None of this text is part of the package.

| source | from | licence | MB | share | times seen | bits per byte |
|---|---|---|---:|---:|---:|---:|
{sources}

Bits per byte are those of the masked bytes in a hundredth of the documents that was held out,
teacher-forced, masked as in training, sentinels and end of sequence charged as well{total}.

## Training

Span corruption: {density:.0%} of the bytes in spans of {mean_span:g} on average, inputs of
{input_length} ids{copy}. {steps:,} steps of {batch_size} examples, {optimizer}, peak learning rate
{learning_rate:g} after {warmup_steps} steps of warm-up, then {schedule}; {hours:.1f} hours on
{cores} cores ({processor}), {date}, commit {commit}.

    KEBYT5_DATA=… kebyt5 corpus build scripts/corpus/tiny.yaml
    {command}
    python scripts/package_tiny.py {run}
"""


def package(run: Path, output: Path) -> None:
    """Writes the model of a run in bfloat16, with its card.

    Raises:
        InputError: The run is not finished, has a source without a licence here, or is too large.
    """
    try:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        text = (run / "config.yaml").read_text(encoding="utf-8")
        settings = yaml.safe_load(text)["pretrain"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{run}: no finished run of `kebyt5 pretrain`: {error}") from error
    unknown = [source for source in metrics["sources"] if source not in SOURCES]
    if unknown:
        raise InputError(f"{run}: no licence is known here of {', '.join(unknown)}; add it")
    model = kebyt5.load(run).to(torch.bfloat16)
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=".incomplete-") as temporary:
        model.save_pretrained(temporary)
        size = Path(temporary, "model.safetensors").stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{run}: {size:,} bytes in bfloat16, more than {MOST_BYTES:,}")
        for path in sorted(Path(temporary).iterdir()):
            path.replace(output / path.name)
    write_text(output / "README.md", card(run, model.config, settings, metrics))


def card(run: Path, config: Any, settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The model card."""
    bits, made = metrics["bits_per_byte"], metrics["made"]
    rows = []
    for source, about in metrics["sources"].items():
        times = about["share"] * metrics["bytes_seen"] / about["bytes"]
        cells = [
            *SOURCES[source], f"{about['bytes'] / 1e6:.1f}", f"{about['share']:.1%}",
            f"{times:.2f}", f"{bits[source]:.2f}" if source in bits else "",
        ]  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    blocks = [str(size) for size, _ in config.blocks]
    return CARD.format(
        millions=metrics["parameters"] / 1e6,
        d_model=config.d_model,
        layers=config.num_layers,
        decoder_layers=config.num_decoder_layers,
        blocks=", ".join(blocks[:-1]) + " and " + blocks[-1],
        downsample=config.downsample_factor,
        seen=metrics["bytes_seen"] / 1e6,
        sources="\n".join(rows),
        total=f"; {bits['all']:.3f} over all sources" if bits else "",
        copy=copies(settings),
        hours=metrics["seconds"] / 3600,
        cores=made["machine"]["cores"],
        processor=made["machine"]["processor"],
        date=made["date"][:10],
        commit=(made["commit"] or "unknown")[:12],
        command=made["command"],
        run=run,
        **{name: metrics[name] for name in ("examples", "raw_length", "steps")},
        **{
            name: settings[name]
            for name in (
                "batch_size", "density", "input_length", "learning_rate", "mean_span", "optimizer",
                "schedule", "warmup_steps",
            )
        },
    )  # fmt: skip


def copies(settings: Mapping[str, Any]) -> str:
    """What the card says of the examples that are texts to be copied."""
    share, early = settings["copy"], settings["early_copy"]
    said = f"; {share:.0%} of the examples to be copied" if share or early else ""
    if early is not None:
        said += f", {early:.0%} at first and evenly fewer over {settings['early_steps']:,} steps"
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=SHIPPED["tiny"])
    arguments = parser.parse_args()
    try:
        package(arguments.run, arguments.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
