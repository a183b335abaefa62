"""Predicting a task's examples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.evaluation.options import PredictOptions
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.labels import LabelTrie
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.tasks import Example, Task


@dataclass(frozen=True)
class Predictions:
    """What a model said to some examples.

    Attributes:
        examples: The examples.
        texts: The answers, one each.
        truncated: How many inputs were shortened to the length limit, in windows or otherwise.
        log_likelihoods: Of the task's labels for each example, shape (examples, labels), where
            these were compared.
    """

    examples: Sequence[Example]
    texts: Sequence[str]
    truncated: int
    log_likelihoods: np.ndarray | None = None

    def score(self, task: Task) -> dict[str, float]:
        """The task's official scores."""
        if self.log_likelihoods is not None:
            return task.score_likelihoods(self.examples, self.log_likelihoods)
        return task.score(self.examples, self.texts)

    def select(self, indices: Sequence[int]) -> "Predictions":
        """The predictions for some of the examples; `truncated` is that of all."""
        chosen = self.log_likelihoods
        return replace(
            self,
            examples=[self.examples[i] for i in indices],
            texts=[self.texts[i] for i in indices],
            log_likelihoods=None if chosen is None else chosen[list(indices)],
        )


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
    limits: list[int] = []
    windows: list[list[int]] = []
    truncated = 0
    for example in examples:
        parts = task.fit(example, options.max_input_bytes, options.stride)
        texts, was_cut = fit_inputs(task, example, parts, options.max_input_bytes, options.strict)
        windows.append(list(range(len(inputs), len(inputs) + len(texts))))
        inputs += texts
        limits += [task.max_target_bytes(part) for part in parts]
        truncated += was_cut

    rows = None
    if task.labels and options.decoding == "likelihood":
        labels = [task.labels] * len(inputs)
        rows = log_likelihoods(model, inputs, labels, options.batch_size, progress)
        texts = [task.labels[row.argmax()] for row in rows]
        likelihoods = [float(row.max()) for row in rows]
    else:
        constrained = task.labels and options.decoding == "constrained"
        trie = LabelTrie(task.labels) if constrained else None
        beams = options.num_beams
        texts = generate_texts(model, inputs, limits, options.batch_size, beams, progress, trie)
        # Asked only where there are windows to choose from.
        candidates = [[texts[i]] * (len(group) > 1) for group in windows for i in group]
        found = log_likelihoods(model, inputs, candidates, options.batch_size)
        likelihoods = [float(row.sum()) for row in found]
    chosen = [
        group[task.choose(example, [texts[i] for i in group], [likelihoods[i] for i in group])]
        for example, group in zip(examples, windows, strict=True)
    ]
    return Predictions(
        examples,
        [texts[i] for i in chosen],
        truncated,
        None if rows is None else np.array([rows[i] for i in chosen]).reshape(-1, len(task.labels)),
    )


def fit_inputs(
    task: Task, example: Example, parts: Sequence[Example], max_bytes: int, strict: bool
) -> tuple[list[str], bool]:
    """The input texts of what `Task.fit` left of an example, cut at a character where need be.

    Returns:
        The texts, and whether the model does not see the example as a whole at once.

    Raises:
        InputError: With `strict`, where it does not.
    """
    texts = [task.input_text(part) for part in parts]
    cut = [ByteTokenizer.truncate(text, max_bytes) for text in texts]
    was_cut = cut != texts or list(parts) != [example]
    if strict and was_cut:
        fit(task.input_text(example), max_bytes, True, example.place or example.id)
    return cut, was_cut


def fit(text: str, max_bytes: int, strict: bool, place: str) -> tuple[str, bool]:
    """Cuts a text to at most `max_bytes` of UTF-8 at a character boundary.

    Returns:
        The text and whether it was cut.

    Raises:
        InputError: With `strict`, where it would have to be cut.
    """
    cut = ByteTokenizer.truncate(text, max_bytes)
    if strict and cut != text:
        size = len(text.encode("utf-8", "replace"))
        raise InputError(
            f"{place}: {size} bytes, over the limit of {max_bytes}; shorten it, raise the limit,"
            " or leave out --strict to have it cut"
        )
    return cut, cut != text


__all__ = ["Predictions", "fit", "fit_inputs", "predict"]
