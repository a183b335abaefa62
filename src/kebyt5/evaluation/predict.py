"""Predicting a task's examples."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.generation.request import Statistics
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.tasks import Example, Task, fitting


@dataclass(frozen=True)
class Predictions:
    """What a model said to some examples.

    Attributes:
        examples: The examples.
        texts: The answers, one each.
        truncated: How many inputs were shortened to the length limit, in windows or otherwise.
        log_likelihoods: Of the task's labels for each example, shape (examples, labels), where
            these were compared.
        constrained: Whether answers were generated under the task's constraint; None where they
            were not generated here.
        statistics: How each answer came about, where the engine generated it.
    """

    examples: Sequence[Example]
    texts: Sequence[str]
    truncated: int
    log_likelihoods: np.ndarray | None = None
    constrained: bool | None = None
    statistics: Sequence[Statistics] | None = None

    def score(self, task: Task) -> dict[str, float]:
        """The task's official scores."""
        if self.log_likelihoods is not None:
            return task.score_likelihoods(self.examples, self.log_likelihoods)
        return task.score(self.examples, self.texts)

    def select(self, indices: Sequence[int]) -> "Predictions":
        """The predictions for some of the examples; `truncated` is that of all."""
        found, came = self.log_likelihoods, self.statistics
        return replace(
            self,
            examples=[self.examples[i] for i in indices],
            texts=[self.texts[i] for i in indices],
            log_likelihoods=None if found is None else found[list(indices)],
            statistics=None if came is None else [came[i] for i in indices],
        )

    def generation(self) -> dict[str, Any] | None:
        """How the answers were generated, all together; None where they were not."""
        if self.constrained is None:
            return None
        total = sum_of(self.statistics or ())
        counted = {"bytes": total.bytes, "bytes_per_pass": total.bytes_per_pass} | asdict(total)
        return {"constrained": self.constrained} | (counted if self.statistics is not None else {})


def predict(
    model: PreTrainedModel,
    task: Task,
    examples: Sequence[Example],
    options: PredictOptions | None = None,
    progress: str = "",
) -> Predictions:
    """Answers every example.

    Args:
        model: A fine-tuned model.
        task: What the examples belong to.
        examples: With or without gold.
        options: How answers are made.
        progress: Title of a progress bar; none where it is empty.

    Raises:
        InputError: With `strict`, an input is over the limit.
    """
    options = options or PredictOptions()
    inputs: list[str] = []
    shown: list[Example] = []
    limits: list[int] = []
    windows: list[slice] = []
    truncated = 0
    for example in examples:
        texts, parts, was_cut = fit_inputs(
            task, example, options.max_input_bytes, options.stride, options.strict
        )
        windows.append(slice(len(inputs), len(inputs) + len(texts)))
        inputs += texts
        shown += parts
        limits += [task.max_target_bytes(part) for part in parts]
        truncated += was_cut

    if task.labels and options.decoding == "likelihood":
        labels = [task.labels] * len(inputs)
        rows = log_likelihoods(model, inputs, labels, options.batch_size, progress)
        # Of several windows, the one that is surest of its label.
        best = [max(rows[window], key=np.max) for window in windows]
        table = np.array(best).reshape(-1, len(task.labels))
        return Predictions(examples, [task.labels[i] for i in table.argmax(1)], truncated, table)
    statistics: list[Statistics] = []
    texts = generate_texts(
        model,
        inputs,
        limits,
        options.batch_size,
        options.num_beams,
        progress,
        task_constraints(task, shown) if options.constrain else None,
        statistics,
    )
    chosen = choose_answers(model, task, examples, inputs, texts, windows, options)
    return Predictions(
        examples,
        chosen,
        truncated,
        constrained=options.constrain,
        statistics=[sum_of(statistics[w]) for w in windows] if options.num_beams == 1 else None,
    )


def sum_of(statistics: Iterable[Statistics]) -> Statistics:
    """The statistics of several texts together."""
    total = Statistics()
    for each in statistics:
        total += each
    return total


def choose_answers(
    model: PreTrainedModel,
    task: Task,
    examples: Sequence[Example],
    inputs: Sequence[str],
    texts: Sequence[str],
    windows: Sequence[slice],
    options: PredictOptions,
) -> list[str]:
    """Of the texts generated for the windows of each example, the one that `Task.choose` takes.

    Args:
        model: Says how likely the texts are; asked only where there are several windows.
        task: What the examples belong to.
        examples: The whole examples.
        inputs: The input texts of all windows.
        texts: What was generated for them.
        windows: For each example its part of `inputs` and `texts`.
        options: How answers are made.
    """
    several = [i for window in windows if window.stop - window.start > 1 for i in _range(window)]
    candidates = [[texts[i], *task.rivals] for i in several]
    asked = [inputs[i] for i in several]
    found = dict(
        zip(
            several,
            log_likelihoods(model, asked, candidates, options.batch_size),
            strict=True,
        )
    )
    return [
        texts[window.start]
        if window.start not in found
        else task.choose(example, texts[window], np.array([found[i] for i in _range(window)]))
        for example, window in zip(examples, windows, strict=True)
    ]


def _range(window: slice) -> range:
    return range(window.start, window.stop)


def fit_inputs(
    task: Task, example: Example, max_bytes: int | None, stride: int | None, strict: bool
) -> tuple[list[str], list[Example], bool]:
    """The input texts of what `Task.fit` leaves of an example, cut at a character where need be.

    Args:
        task: What the example belongs to.
        example: With or without gold.
        max_bytes: What an input text may have; the task's own limit where it is None.
        stride: As for `Task.fit`.
        strict: Refuses an example that the model would not see as a whole.

    Returns:
        The texts, what of the example they show, and whether that is not the whole at once.

    Raises:
        InputError: With `strict`, where it is not, or there is no room for what has to stay.
    """
    max_bytes = max_bytes or task.max_input_bytes
    if strict:
        require_fit(task.input_text(example), max_bytes, example.place or example.id)
    parts = task.fit(example, max_bytes, stride)
    texts = [task.input_text(part) for part in parts]
    shortened = [ByteTokenizer.truncate(text, max_bytes) for text in texts]
    return shortened, parts, shortened != texts or parts != [example]


def require_fit(text: str, max_bytes: int, place: str) -> None:
    """Refuses a text of more than `max_bytes` of UTF-8.

    Raises:
        InputError: Names its place.
    """
    size = fitting.size(text)
    if size > max_bytes:
        raise InputError(
            f"{place}: {size} bytes, over the limit of {max_bytes}; shorten it, raise the"
            " limit, or leave out --strict to have it cut"
        )


__all__ = ["Predictions", "choose_answers", "fit_inputs", "predict", "require_fit"]
