"""`kebyt5 evaluate`."""

from pathlib import Path

from cyclopts.types import PositiveInt

from kebyt5.cli.display import print_scores


def evaluate(
    checkpoint: str,
    *,
    task: str,
    data: Path,
    baseline: Path | None = None,
    output: Path | None = None,
    limit: PositiveInt | None = None,
    max_input_bytes: PositiveInt = 1024,
    strict: bool = False,
    batch_size: PositiveInt = 32,
    num_beams: PositiveInt = 1,
) -> None:
    """Score a checkpoint on a data file with the task's official metrics.

    ```bash
    kebyt5 evaluate runs/ner --task ner --data klue-ner-v1.1_dev.tsv
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        task: Name of the task; `kebyt5 tasks` lists them.
        data: Data in the task's official file format.
        baseline: Training data from which the task's trivial baseline is learnt, to print its
            scores beside the model's.
        output: A new folder for `metrics.json` and `predictions.jsonl`.
        limit: Use only so many examples, the first ones.
        max_input_bytes: Longer inputs are cut at a character boundary and counted.
        strict: Refuse longer inputs instead.
        batch_size: Examples per batch.
        num_beams: 1 for greedy search.
    """
    from kebyt5.evaluation.evaluate import predict, write_predictions
    from kebyt5.models.loading import load
    from kebyt5.output import make_output_folder, provenance, whole_folder, write_json
    from kebyt5.tasks import get_task

    the_task = get_task(task)
    examples = list(the_task.read(data))[:limit]
    trivial = the_task.baseline(list(the_task.read(baseline)), examples) if baseline else None
    model = load(checkpoint)
    if output:
        make_output_folder(output)
    predictions = predict(
        model, the_task, examples, max_input_bytes, strict, batch_size, num_beams, "Predicting"
    )
    metrics = {
        "task": task,
        "scores": the_task.score(examples, predictions.texts),
        "baseline": the_task.score(examples, trivial) if trivial else None,
        "examples": len(examples),
        "truncated": predictions.truncated,
        "checkpoint": checkpoint,
        "data": str(data),
        "made": provenance(),
    }
    print_scores(metrics, str(data))
    if output:
        with whole_folder(output) as folder:
            write_predictions(folder / "predictions.jsonl", the_task, predictions)
            write_json(folder / "metrics.json", metrics)
        print(f"Written to {output}")
