"""Predicting the answers to a task's examples."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.constraints.forms import task_constraints
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.generation.request import GenerationStatistics
from kebyt5.models.offsets import byte_length
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.tasks import Example, Task

T = TypeVar("T")


@dataclass(frozen=True)
class Predictions:
    """A model's answers to some examples.

    Attributes:
        examples: The examples.
        texts: The answers, one for each example.
        truncated: Number of inputs that exceeded the length limit and were read in windows or
            shortened.
        cut: Number of answers that reached the limit of their bytes and may be incomplete.
        log_likelihoods: Log-likelihoods of the task's labels, shape (examples, labels); None if
            labels were not compared.
        constrained: Whether answers were generated under the task's constraint; None if they were
            not generated here.
        statistics: Counts of how each answer was generated; None if not by the engine.
    """

    examples: Sequence[Example]
    texts: Sequence[str]
    truncated: int
    cut: int = 0
    log_likelihoods: np.ndarray | None = None
    constrained: bool | None = None
    statistics: Sequence[GenerationStatistics] | None = None

    def score(self, task: Task) -> dict[str, float]:
        """Computes the task's official scores."""
        if self.log_likelihoods is not None:
            return task.score_likelihoods(self.examples, self.log_likelihoods)
        return task.score(self.examples, self.texts)

    @property
    def is_finite(self) -> bool:
        """Whether all log-likelihoods are finite; they are not after training diverged."""
        return self.log_likelihoods is None or bool(np.isfinite(self.log_likelihoods).all())

    def select(self, indices: Sequence[int]) -> "Predictions":
        """Selects the predictions for some examples; `truncated` and `cut` stay those of all."""
        likelihoods, statistics = self.log_likelihoods, self.statistics
        return replace(
            self,
            examples=[self.examples[i] for i in indices],
            texts=[self.texts[i] for i in indices],
            log_likelihoods=None if likelihoods is None else likelihoods[list(indices)],
            statistics=None if statistics is None else [statistics[i] for i in indices],
        )

    def generation(self) -> dict[str, Any] | None:
        """Summarizes how all answers were generated; None if they were not generated here."""
        if self.constrained is None:
            return None
        total = GenerationStatistics.sum(self.statistics or ())
        counted = {"bytes": total.bytes, "bytes_per_pass": total.bytes_per_pass} | asdict(total)
        return {"constrained": self.constrained} | (counted if self.statistics is not None else {})


def predict(
    model: PreTrainedModel,
    task: Task,
    examples: Sequence[Example],
    options: PredictOptions | None = None,
    progress: str = "",
    may_diverge: bool = False,
) -> Predictions:
    """Answers every example.

    Args:
        model: A fine-tuned model.
        task: The task of the examples.
        examples: Examples with or without gold.
        options: Settings of the predictions.
        progress: Title of the progress bar; an empty one shows none.
        may_diverge: Whether likelihoods need not be numbers, which would be scored as the first
            label.

    Raises:
        InputError: With `strict`, an input exceeds the limit; or likelihoods are not numbers.
    """
    options = options or PredictOptions()
    windows = Windows(task, examples, options.max_input_bytes, options.stride, options.strict)
    inputs, truncated = windows.inputs, sum(windows.truncated)
    if task.labels and options.decoding == "likelihood":
        labels = [task.labels] * len(inputs)
        rows = log_likelihoods(model, inputs, labels, options.batch_size, progress)
        table = windows.surest(rows)
        texts = [task.labels[i] for i in table.argmax(1)]
        predictions = Predictions(examples, texts, truncated, log_likelihoods=table)
        if not (may_diverge or predictions.is_finite):
            raise InputError(
                "the model's likelihoods are not numbers: its weights are damaged, or training"
                " diverged; train it with a lower learning rate, into another folder"
            )
        return predictions
    texts, cut, statistics = generate_texts(
        model,
        inputs,
        [options.max_new_bytes or task.max_target_bytes(part) for part in windows.shown],
        batch_size=options.batch_size,
        num_beams=options.num_beams,
        progress=progress,
        constraint=task_constraints(task, windows.shown) if options.constrain else None,
    )
    return Predictions(
        examples,
        windows.choose(model, texts, options.batch_size),
        truncated,
        cut=sum(map(any, windows.of(cut))),
        constrained=options.constrain,
        statistics=None
        if statistics is None
        else [GenerationStatistics.sum(each) for each in windows.of(statistics)],
    )


class Windows:
    """The input texts of some examples, each as a whole or in several windows.

    Args:
        task: The task of the examples.
        examples: Examples with or without gold.
        max_bytes: Largest size of an input text; the task's own limit if None.
        stride: Bytes from the beginning of a window to that of the next; half a window if None.
        strict: Whether to refuse examples that the model cannot see as a whole.

    Attributes:
        inputs: The input texts of all windows.
        shown: For each window, an example with the part that it shows.
        truncated: For each example, whether the model cannot see the whole at once.

    Raises:
        InputError: See `fit_inputs`.
    """

    def __init__(
        self,
        task: Task,
        examples: Sequence[Example],
        max_bytes: int | None = None,
        stride: int | None = None,
        strict: bool = False,
    ) -> None:
        self.inputs: list[str] = []
        self.shown: list[Example] = []
        self.truncated: list[bool] = []
        self._task = task
        self._examples = examples
        self._slices: list[slice] = []
        for example in examples:
            fitted = fit_inputs(task, example, max_bytes, stride, strict)
            self._slices.append(slice(len(self.inputs), len(self.inputs) + len(fitted.texts)))
            self.inputs += fitted.texts
            self.shown += fitted.parts
            self.truncated.append(fitted.is_truncated)

    def of(self, values: Sequence[T]) -> list[Sequence[T]]:
        """Groups values of all windows by example."""
        return [values[each] for each in self._slices]

    def surest(self, rows: Sequence[ArrayLike]) -> np.ndarray:
        """Chooses, for each example, the window whose best label is likeliest.

        Args:
            rows: Log-likelihoods of the task's labels for each window.

        Returns:
            The rows of the chosen windows, shape (examples, labels).
        """
        best = [max(each, key=np.max) for each in self.of(rows)]
        return np.array(best).reshape(-1, len(self._task.labels))

    def choose(
        self, model: PreTrainedModel, texts: Sequence[str], batch_size: int = 32
    ) -> list[str]:
        """Chooses, for each example, one of the texts generated for its windows (`Task.choose`).

        Args:
            model: The model, which computes likelihoods if an example has several windows.
            texts: The text generated for each window.
            batch_size: Windows per batch.
        """
        task, windows = self._task, self.of(range(len(self.inputs)))
        several = [i for each in windows if len(each) > 1 for i in each]
        candidates = [[texts[i], *task.rivals] for i in several]
        asked = [self.inputs[i] for i in several]
        rows = log_likelihoods(model, asked, candidates, batch_size)
        found = dict(zip(several, rows, strict=True))
        return [
            texts[each[0]]
            if len(each) == 1
            else task.choose(example, [texts[i] for i in each], np.array([found[i] for i in each]))
            for example, each in zip(self._examples, windows, strict=True)
        ]


class Fitted(NamedTuple):
    """An example as the model can see it.

    Attributes:
        texts: The input texts.
        parts: For each text, an example with the part that it shows.
        is_truncated: Whether the model cannot see the whole at once.
    """

    texts: list[str]
    parts: list[Example]
    is_truncated: bool


def fit_inputs(
    task: Task, example: Example, max_bytes: int | None, stride: int | None, strict: bool
) -> Fitted:
    """Fits an example into input texts by `Task.fit`, truncating them where that is not enough.

    Args:
        task: The task of the example.
        example: The example, with or without gold.
        max_bytes: Largest size of an input text; the task's own limit if None.
        stride: Bytes from the beginning of a window to that of the next; half a window if None.
        strict: Whether to refuse an example that the model cannot see as a whole.

    Raises:
        InputError: With `strict`, the example is too long; or the limit leaves no room for the
            parts that have to stay.
    """
    max_bytes = max_bytes or task.max_input_bytes
    if strict:
        require_fit(task.input_text(example), max_bytes, example.place or example.id)
    parts = task.fit(example, max_bytes, stride)
    texts = [task.input_text(part) for part in parts]
    truncated = [ByteTokenizer.truncate(text, max_bytes) for text in texts]
    return Fitted(truncated, parts, truncated != texts or parts != [example])


def require_fit(text: str, max_bytes: int, place: str) -> None:
    """Refuses a text of more than `max_bytes` of UTF-8.

    Raises:
        InputError: The text is longer; the message begins with `place`.
    """
    size = byte_length(text)
    if size > max_bytes:
        raise InputError(
            f"{place}: {size} bytes, over the limit of {max_bytes}; shorten it, raise the"
            " limit, or leave out --strict to have it shortened"
        )


__all__ = ["Fitted", "Predictions", "Windows", "fit_inputs", "predict", "require_fit"]
