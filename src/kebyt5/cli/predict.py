"""`kebyt5 predict`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions


def predict(
    checkpoint: str,
    *,
    task: str,
    text: Annotated[list[str] | None, Parameter(negative="", allow_leading_hyphen=True)] = None,
    input: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    output: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    device: str = "cpu",
    options: Annotated[PredictOptions | None, Parameter(name="*")] = None,
) -> None:
    r"""Answer new inputs with a fine-tuned checkpoint.

    ```bash
    kebyt5 predict runs/ner --task ner --text "김하늘 씨는 서울에 산다."
    kebyt5 predict runs/ner --task ner --input sentences.txt --output \
      predictions.jsonl
    cat sentences.txt | kebyt5 predict runs/ner --task ner --input - --output -
    ```

    Args:
        checkpoint: A folder or a name on the hub.
        task: Name of the task; `kebyt5 tasks` lists them.
        text: An input; repeat the option for more.
        input: A UTF-8 file with one input per line, `-` for standard input. Tasks whose input has
            several parts take one JSON object per line.
        output: A JSONL file for the answers, each with the `id` of its input, or else its line
            number; `-` for standard output. By default they are printed as text, which may take
            several lines.
        device: Device to compute on: `cpu`, or a GPU by its name in PyTorch, such as `cuda` or
            `cuda:1`.
        options: Settings of the predictions.
    """
    from kebyt5.cli.display import generation_line, limit_lines, warn_of_another_task
    from kebyt5.devices import move, require_device
    from kebyt5.evaluation import predict as prediction
    from kebyt5.evaluation.inputs import read_inputs
    from kebyt5.evaluation.predictions import prediction_lines, write_predictions
    from kebyt5.models.loading import load
    from kebyt5.output import require_writable
    from kebyt5.tasks import get_task

    the_task, the_device = get_task(task), require_device(device)
    options = options or PredictOptions()
    options.check_effect(the_task)
    if (input is None) == (text is None):
        raise InputError("give --text or --input" + (", not both" if text else ""))
    for path in filter(None, (input, output)):
        if str(path).startswith("-") and str(path) != "-":
            raise InputError(f"{path}: an option, but a file has to be named first; or ./{path}")
    examples = read_inputs(the_task, input if input is not None else (text or []))
    to_file = None if str(output) == "-" else output
    if to_file:
        require_writable(to_file)
        if input is not None and to_file.exists() and input.exists() and to_file.samefile(input):
            raise InputError(f"{to_file}: contains the inputs; give another file for the answers")
    progress = "Predicting" if len(examples) > options.batch_size else ""
    warn_of_another_task(checkpoint, task)
    model = move(load(checkpoint), the_device)
    predictions = prediction.predict(model, the_task, examples, options, progress)
    for line in limit_lines(predictions.truncated, predictions.cut):
        print(line, file=sys.stderr)
    if generation := predictions.generation():
        print(generation_line(generation), file=sys.stderr)
    if to_file:
        write_predictions(to_file, the_task, predictions)
    elif output:
        sys.stdout.writelines(prediction_lines(the_task, predictions))
    else:
        for example, generated in zip(examples, predictions.texts, strict=True):
            print(the_task.show(the_task.parse(generated, example), example))
