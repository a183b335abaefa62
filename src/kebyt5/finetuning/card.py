"""The model card of a fine-tuned checkpoint."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kebyt5.tasks import Task

TEMPLATE = """\
---
language: ko
library_name: kebyt5
base_model: {base_as_yaml}
tags: [kebyt5, byte-level, {task}]
---

# {title}: {base}, fine-tuned with kebyt5

Reads and writes UTF-8 bytes; needs no tokenizer files.

```bash
kebyt5 predict {folder} --task {task} --text "…"
```

## Scores

On `{dev}` ({examples} examples), in percent; `unparsed` is a number of answers.

| score | this model{baseline_head} |
|---|---|{baseline_rule}
{scores}

## Training

| | |
|---|---|
| data | `{train}`, {train_examples} examples |
| base checkpoint | `{base}` |
| trained parameters | {trained:,} of {parameters:,} |
| seconds since start or resume | {seconds:.0f} |
| date | {date} |
| commit | {commit} |

`config.yaml` holds every setting, `training.png` the curves, `predictions.jsonl` what the model
said to every validation example. The licence follows from the base checkpoint and the data.
"""


def model_card(task: Task, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Writes the card from the resolved configuration and the content of `metrics.json`."""
    baseline = metrics["baseline"]
    rows = [
        f"| {name} | {value:.2f} |" + (f" {baseline[name]:.2f} |" if baseline else "")
        for name, value in metrics["scores"].items()
    ]
    return TEMPLATE.format(
        title=task.title,
        task=task.name,
        base=config["checkpoint"],
        base_as_yaml=json.dumps(config["checkpoint"], ensure_ascii=False),
        folder=shlex.quote(config["output"]),
        dev=config["dev"],
        train=config["train"],
        scores="\n".join(rows),
        baseline_head=" | baseline" if baseline else "",
        baseline_rule="---|" if baseline else "",
        examples=metrics["examples"],
        train_examples=metrics["training"]["examples"],
        trained=metrics["training"]["trained_parameters"],
        parameters=metrics["training"]["parameters"],
        seconds=metrics["training"]["seconds_since_start_or_resume"],
        date=metrics["made"]["date"],
        commit=metrics["made"]["commit"],
    )


__all__ = ["model_card"]
