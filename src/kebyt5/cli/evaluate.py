"""`kebyt5 evaluate`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from kebyt5.cli.display import print_scores, warn_of_another_task
from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions


def evaluate(
    checkpoint: str | None = None,
    *,
    task: str,
    data: Path,
    predictions: Path | None = None,
    baseline: Path | None = None,
    output: Path | None = None,
    limit: PositiveInt | None = None,
    noise: Annotated[list[float] | None, Parameter(negative="", consume_multiple=True)] = None,
    seed: int = 0,
    device: str = "cpu",
    options: Annotated[PredictOptions | None, Parameter(name="*")] = None,
) -> None:
    r"""Score a checkpoint on a data file with the task's official metrics.

    ```bash
    kebyt5 evaluate runs/ner --task ner --data klue-ner-v1.1_dev.tsv
    kebyt5 evaluate runs/ner --task ner --data klue-ner-v1.1_dev.tsv \
      --noise 0.02 0.05 0.1 --output scores/ner
    kebyt5 evaluate --predictions predictions.txt --task dp --data klue-dp-v1.1_dev.tsv
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        task: Name of the task; `kebyt5 tasks` lists them.
        data: Data in the task's official file format.
        predictions: File of texts generated elsewhere, in place of a checkpoint: one per line, or
            the JSONL that kebyt5 writes; for all examples, or with --limit for as many.
        baseline: Training data for the task's trivial baseline, whose scores are printed beside
            the model's.
        output: A new folder for `metrics.json`, `predictions.jsonl` and `robustness.png`.
        limit: Use only the first N examples.
        noise: Also score inputs in which this share of the syllables and blanks is damaged by
            typos in jamo, spacing errors and lost bytes.
        seed: Seed of the noise.
        device: Device to compute on: `cpu`, or a GPU by its name in PyTorch, such as `cuda` or
            `cuda:1`.
        options: Settings of the predictions.
    """
    from kebyt5.devices import move, require_device
    from kebyt5.evaluation.evaluate import describe, scores_under_noise, write_result
    from kebyt5.evaluation.predict import predict
    from kebyt5.evaluation.predictions import read_predictions
    from kebyt5.models.loading import load
    from kebyt5.output import new_folder
    from kebyt5.tasks import get_task

    if (checkpoint is None) == (predictions is None):
        both = ", not both" if predictions else ""
        raise InputError(f"give a checkpoint or --predictions{both}")
    if predictions is not None and (noise or options or device != "cpu"):
        raise InputError(
            "--noise, --device and options of generation need a checkpoint, in place of"
            " --predictions"
        )
    if noise is not None and not (noise and all(0 < rate <= 1 for rate in noise)):
        raise InputError("--noise: give rates above 0, at most 1")
    the_task, the_device = get_task(task), require_device(device)
    if options is not None:
        options.check_effect(the_task)
    if baseline is not None and not the_task.has_baseline:
        raise InputError(f"--baseline: the task {task} has no trivial baseline; leave it out")
    examples = list(the_task.read(data))
    train = list(the_task.read(baseline)) if baseline else None
    if checkpoint is not None:
        warn_of_another_task(checkpoint, task)
    with new_folder(output) if output else nullcontext() as folder:
        model = None if checkpoint is None else move(load(checkpoint), the_device)
        if predictions is not None:
            result = read_predictions(the_task, predictions, examples, limit)
        else:
            result = predict(model, the_task, examples[:limit], options, "Predicting")
        metrics = describe(the_task, result, train) | {
            "checkpoint": checkpoint,
            "predictions": str(predictions) if predictions else None,
            "data": str(data),
        }
        if noise:
            metrics["noise"] = scores_under_noise(model, the_task, result, noise, options, seed)
        if folder:  # written before printing, which may fail if stdout is closed
            write_result(folder, the_task, result, metrics)
    print_scores(metrics, str(data))
    if output:
        print(f"Written to {output}")
