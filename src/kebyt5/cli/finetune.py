"""`kebyt5 finetune`."""

from typing import Annotated

from cyclopts import Parameter

from kebyt5.cli.display import print_scores, print_summary
from kebyt5.finetuning.config import FinetuneConfig


def finetune(config: Annotated[FinetuneConfig, Parameter(name="*")]) -> None:
    r"""Fine-tune a checkpoint on a task, keep the best weights, score them and describe the run.

    The output folder gets the checkpoint (safetensors), `metrics.json`, `predictions.jsonl`,
    `training.png`, `config.yaml`, a model card and TensorBoard logs. `--resume` continues a killed
    run and gives the same result.

    ```bash
    kebyt5 finetune --task ner --train klue-ner-v1.1_train.tsv --dev \
      klue-ner-v1.1_dev.tsv --checkpoint etri-lirs/gbst-kebyt5-base-preview \
      --output runs/ner
    kebyt5 finetune --task ynat --train ynat-v1.1_train.json --dev ynat-v1.1_dev.json \
      --task nli --train klue-nli-v1.1_train.json --dev klue-nli-v1.1_dev.json \
      --temperature 2 --output runs/both
    kebyt5 finetune --task sts --train klue-sts-v1.1_train.json --folds 5 --seeds 3 \
      --output runs/sts
    accelerate launch --multi_gpu --num-processes 4 -m kebyt5 finetune \
      --config runs/ner/config.yaml --output runs/ner-again
    ```
    """
    from kebyt5.finetuning.finetune import finetune as run
    from kebyt5.finetuning.repeat import finetune_repeatedly

    metrics = finetune_repeatedly(config) if config.is_repeated else run(config)
    if not metrics:  # another process prints them
        return
    if "summary" in metrics:
        print_summary(metrics["summary"])
    for result in metrics["tasks"].values() if "tasks" in metrics else [metrics]:
        if "task" in result:
            print_scores(result, result["data"] or "the fold held out")
    print(f"Written to {config.output}")
