"""The model card of a pretrained checkpoint."""

from collections.abc import Mapping
from typing import Any

TEMPLATE = """\
---
language: ko
library_name: kebyt5
tags: [kebyt5, byte-level, {kind}]
---

# {title}

A byte-level encoder-decoder of {parameters:,} parameters, pretrained with kebyt5 by span
corruption: it reads Korean text with spans of bytes removed and writes the missing bytes. UTF-8
byte b is id b + 3, span i is marked by id 258 - i; it needs no tokenizer files. To fine-tune it:

```bash
kebyt5 finetune --checkpoint FOLDER --task ner --train TRAIN --dev DEV --output NEW_FOLDER
```

## Text

{examples:,} examples of up to {raw_length:,} bytes, {seen:.1f} MB in all.

| source | MB in the corpus | share of the examples | times seen | bits per byte |
|---|---:|---:|---:|---:|
{sources}

Bits per byte are those of the masked bytes in validation text of each source, 15 % of it in spans
of 20 bytes; the bits of sentinels and the end of sequence are included{total}.

## Training

| | |
|---|---|
| start | `{start}` |
| steps | {steps:,} of {batch_size:,} examples |
| learning rate | {learning_rate:g}, {schedule}, {warmup_steps:,} steps of warm-up |
| optimizer | {optimizer} |
| hours | {hours:.2f} |
| date | {date} |
| commit | {commit} |

`config.yaml` holds every setting, `history.jsonl` the loss of every step, `pretraining.png` the
curves. The licence follows from the start and the texts.
"""


def model_card(name: str, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Writes the card of a pretrained model from its configuration and `metrics.json`."""
    bits = metrics["bits_per_byte"]
    rows = [
        f"| {source} | {about['bytes'] / 1e6:.1f} | {about['share']:.1%} |"
        f" {about['share'] * metrics['bytes_seen'] / about['bytes']:.2f} |"
        f" {f'{bits[source]:.3f}' if source in bits else ''} |"
        for source, about in metrics["sources"].items()
    ]
    return TEMPLATE.format(
        title=name,
        kind="gbst" if metrics["gbst"] else "t5",
        parameters=metrics["parameters"],
        examples=metrics["examples"],
        raw_length=metrics["raw_length"],
        seen=metrics["bytes_seen"] / 1e6,
        sources="\n".join(rows),
        total=f"; {bits['all']:.3f} over all of it" if bits else "",
        start=config["model"] + (" with GBST in front" if config["gbst"] else ""),
        hours=metrics["seconds"] / 3600,
        date=metrics["made"]["date"],
        commit=metrics["made"]["commit"],
        **{
            key: config[key]
            for key in (
                "steps",
                "batch_size",
                "learning_rate",
                "schedule",
                "warmup_steps",
                "optimizer",
            )
        },
    )
