"""`kebyt5 quantize`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions


def quantize(
    checkpoint: str,
    output: Path,
    *,
    check: Annotated[tuple[str, Path] | None, Parameter(negative="")] = None,
    max_drop: float = 0.3,
    limit: PositiveInt | None = None,
    options: Annotated[PredictOptions | None, Parameter(name="*")] = None,
) -> None:
    r"""Quantize a checkpoint's weights to int8, for generation on CPUs.

    The scores before and after are written to `quantization.json` beside the weights. If the score
    drops by more than `--max-drop`, nothing is written. The first 64 examples of the check are used
    to equalize channels before they are rounded.

    ```bash
    kebyt5 quantize runs/ner runs/ner-int8 --check ner klue-ner-v1.1_dev.tsv
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        output: A new folder.
        check: A task and a data file, on which to compare the scores.
        max_drop: Largest drop of the task's main score, in points.
        limit: Check on the first N examples only.
        options: Settings of the predictions.
    """
    from kebyt5.models.loading import load_float, save_checkpoint
    from kebyt5.output import new_folder, write_json
    from kebyt5.provenance import provenance
    from kebyt5.quantization.check import quantize_checked
    from kebyt5.quantization.quantize import quantize as round_weights
    from kebyt5.quantization.quantize import require_int8_products
    from kebyt5.tasks import get_task

    if not max_drop >= 0:  # also false for NaN
        raise InputError(f"--max-drop {max_drop}: has to be 0 or more")
    if check is None and (limit is not None or options is not None):
        raise InputError(
            "--limit and the options of predictions only affect the check; give --check"
        )
    require_int8_products()
    task = get_task(check[0]) if check else None
    if task and options:
        options.check_effect(task)
    examples = list(task.read(check[1]))[:limit] if task and check else []
    with new_folder(output) as folder:
        model = load_float(checkpoint)
        report: dict[str, object] = {"checkpoint": checkpoint, "check": None}
        if task and check:
            found = quantize_checked(model, task, examples, max_drop, options, progress=True)
            report["check"] = asdict(found) | {"data": str(check[1])}
            outcome = str(found)
        else:
            round_weights(model)
            outcome = "Not checked: give --check TASK FILE to compare scores."
        save_checkpoint(model, folder)
        write_json(folder / "quantization.json", report | {"made": provenance()})
    print(outcome)  # not before writing: printing may fail if stdout is closed
    print(f"Written to {output}")
