"""The model card of a fine-tuned checkpoint."""

from collections.abc import Mapping
from typing import Any

from kebyt5.tasks import Task

TEMPLATE = """\
---
language: ko
library_name: kebyt5
base_model: {base}
tags: [kebyt5, byte-level, {task}]
---

# {title}: {base}, fine-tuned with kebyt5

Reads and writes UTF-8 bytes; needs no tokenizer files.

```bash
kebyt5 predict {output} --task {task} --text "…"
```

## Scores

On `{dev}` ({examples} examples), in percent, from the generated texts.

| score | this model{baseline_head} |
|---|---|{baseline_rule}
{scores}

## Training

| | |
|---|---|
| data | `{train}`, {train_examples} examples |
| base checkpoint | `{base}` |
| trained parameters | {trained:,} of {parameters:,} |
| seconds | {seconds:.0f} |
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
        output=config["output"],
        dev=config["dev"],
        train=config["train"],
        scores="\n".join(rows),
        baseline_head=" | baseline" if baseline else "",
        baseline_rule="---|" if baseline else "",
        examples=metrics["examples"],
        train_examples=metrics["training"]["examples"],
        trained=metrics["training"]["trained_parameters"],
        parameters=metrics["training"]["parameters"],
        seconds=metrics["training"]["seconds"],
        date=metrics["made"]["date"],
        commit=metrics["made"]["commit"],
    )


__all__ = ["model_card"]
