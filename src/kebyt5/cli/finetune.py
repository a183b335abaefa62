"""`kebyt5 finetune`."""

from typing import Annotated

from cyclopts import Parameter

from kebyt5.cli.display import print_scores
from kebyt5.finetuning.config import FinetuneConfig


def finetune(config: Annotated[FinetuneConfig, Parameter(name="*")]) -> None:
    r"""Fine-tune a checkpoint on a task, keep the best, score it and write all about it.

    The output folder gets the checkpoint (safetensors), `metrics.json`, `predictions.jsonl`,
    `training.png`, `config.yaml`, a model card and TensorBoard logs. A killed run goes on with
    `--resume` and ends in the same result.

    ```bash
    kebyt5 finetune --task ner --train klue-ner-v1.1_train.tsv --dev \
      klue-ner-v1.1_dev.tsv --checkpoint etri-lirs/gbst-kebyt5-base-preview \
      --output runs/ner
    accelerate launch --num-processes 4 -m kebyt5 finetune \
      --config runs/ner/config.yaml --output runs/ner-again
    ```
    """
    from kebyt5.finetuning.finetune import finetune as run

    metrics = run(config)
    if metrics:
        print_scores(metrics, f"{config.dev}")
        print(f"Written to {config.output}")
