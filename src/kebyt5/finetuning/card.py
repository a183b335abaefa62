"""The model card of a fine-tuned checkpoint."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from kebyt5.evaluation.evaluate import show_score
from kebyt5.tasks import Task

_TEMPLATE = """\
---
language: ko
library_name: kebyt5
base_model: {base_as_yaml}
tags: [kebyt5, byte-level, {tags}]
---

# {title}: {base}, fine-tuned with kebyt5

Reads and writes UTF-8 bytes; needs no tokenizer files.

```bash
kebyt5 predict {folder} --task {task} --text {text}
```

## Scores

In percent; `unparsed` is a number of answers.
{scores}

## Training

| | |
|---|---|
| data | {train}: {train_examples} examples |
| base checkpoint | `{base}`{kept} |
| trained parameters | {trained:,} of {parameters:,} |
| seconds since start or resume | {seconds:.0f} |
| date | {date} |
| commit | {commit} |

`config.yaml` holds every setting, `training.png` the curves, `predictions.jsonl` what the model
answered to every validation example. The licence follows from the base checkpoint and the data.
"""

_SCORES = """
### {title}

On {dev}: {examples} examples.

| score | this model{baseline_head} |
|---|---|{baseline_rule}
{rows}
"""


def model_card(
    results: Sequence[tuple[Task, Mapping[str, Any]]],
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
) -> str:
    """Writes the card of a fine-tuned model.

    Args:
        results: Each task with the content of its `metrics.json`.
        settings: The resolved configuration as plain values.
        training: Facts of the training: examples, parameters and seconds.
    """
    tasks = [task for task, _ in results]
    made = results[0][1]["made"]
    return _TEMPLATE.format(
        title=", ".join(task.title for task in tasks),
        task=tasks[0].name,
        tags=", ".join(task.name for task in tasks),
        base=settings["checkpoint"],
        base_as_yaml=json.dumps(settings["checkpoint"], ensure_ascii=False),
        kept=", only its encoder; the decoder began anew" if settings["fresh_decoder"] else "",
        text=_text_option(tasks[0]),
        folder=shlex.quote(settings["output"]),
        scores="".join(_score_table(task, metrics) for task, metrics in results),
        train=", ".join(f"`{path}`" for path in settings["train"]),
        train_examples=training["examples"],
        trained=training["trained_parameters"],
        parameters=training["parameters"],
        seconds=training["seconds_since_start_or_resume"],
        date=made["date"],
        commit=made["commit"],
    )


def _text_option(task: Task) -> str:
    """A placeholder for an input on the command line."""
    if task.takes_plain_text:
        return '"…"'
    return shlex.quote(json.dumps(dict.fromkeys(task.input_fields, "…"), ensure_ascii=False))


def _score_table(task: Task, metrics: Mapping[str, Any]) -> str:
    baseline = metrics["baseline"]
    rows = []
    for name, value in metrics["scores"].items():
        beside = f" {show_score(name, baseline[name])} |" if baseline and name in baseline else " |"
        rows.append(f"| {name} | {show_score(name, value)} |" + (beside if baseline else ""))
    return _SCORES.format(
        title=task.title,
        dev=metrics["data"] or "a part of the training data held out",
        examples=metrics["examples"],
        baseline_head=" | baseline" if baseline else "",
        baseline_rule="---|" if baseline else "",
        rows="\n".join(rows),
    )
