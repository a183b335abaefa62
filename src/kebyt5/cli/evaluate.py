"""`kebyt5 evaluate`."""

from pathlib import Path

from cyclopts.types import PositiveInt

from kebyt5.cli.display import print_scores
from kebyt5.errors import InputError


def evaluate(
    checkpoint: str | None = None,
    *,
    task: str,
    data: Path,
    predictions: Path | None = None,
    baseline: Path | None = None,
    output: Path | None = None,
    limit: PositiveInt | None = None,
    max_input_bytes: PositiveInt = 1024,
    strict: bool = False,
    batch_size: PositiveInt = 32,
    num_beams: PositiveInt = 1,
    free: bool = False,
) -> None:
    """Score a checkpoint on a data file with the task's official metrics.

    ```bash
    kebyt5 evaluate runs/ner --task ner --data klue-ner-v1.1_dev.tsv
    kebyt5 evaluate --predictions predictions.txt --task dp --data klue-dp-v1.1_dev.tsv
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        task: Name of the task; `kebyt5 tasks` lists them.
        data: Data in the task's official file format.
        predictions: Texts made elsewhere, in place of a checkpoint: a text a line, or the JSONL
            that kebyt5 writes.
        baseline: Training data from which the task's trivial baseline is learnt, to print its
            scores beside the model's.
        output: A new folder for `metrics.json` and `predictions.jsonl`.
        limit: Use only so many examples, the first ones.
        max_input_bytes: Longer inputs are cut at a character boundary and counted.
        strict: Refuse longer inputs instead.
        batch_size: Examples per batch.
        num_beams: 1 for greedy search.
        free: Generate freely where a task has labels, in place of taking the likeliest; what is
            no label is repaired to the nearest and counted.
    """
    from kebyt5.evaluation.evaluate import Predictions, predict, write_predictions
    from kebyt5.evaluation.predictions import read_predictions
    from kebyt5.models.loading import load
    from kebyt5.output import make_output_folder, provenance, whole_folder, write_json
    from kebyt5.tasks import get_task

    if (checkpoint is None) == (predictions is None):
        raise InputError("give either a checkpoint or --predictions")
    the_task = get_task(task)
    examples = list(the_task.read(data))[:limit]
    trivial = the_task.baseline(list(the_task.read(baseline)), examples) if baseline else None
    if predictions is not None:
        result = Predictions(examples, read_predictions(the_task, predictions, examples), 0)
    else:
        model = load(checkpoint or "")
    if output:
        make_output_folder(output)
    if predictions is None:
        result = predict(
            model,
            the_task,
            examples,
            max_input_bytes,
            strict,
            batch_size,
            num_beams,
            "Predicting",
            free,
        )
    metrics = {
        "task": task,
        "scores": result.score(the_task),
        "baseline": the_task.score(examples, trivial) if trivial else None,
        "examples": len(examples),
        "truncated": result.truncated,
        "checkpoint": checkpoint,
        "predictions": str(predictions) if predictions else None,
        "data": str(data),
        "made": provenance(),
    }
    print_scores(metrics, str(data))
    if output:
        with whole_folder(output) as folder:
            write_predictions(folder / "predictions.jsonl", the_task, result)
            write_json(folder / "metrics.json", metrics)
        print(f"Written to {output}")
