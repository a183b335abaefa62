"""Predicting a task's examples and scoring what was predicted."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.likelihood import log_likelihoods
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.output import write_text
from kebyt5.tasks import Example, Task


@dataclass(frozen=True)
class Predictions:
    """What a model said to some examples.

    Attributes:
        examples: The examples.
        texts: The generated texts, one each.
        truncated: How many inputs were cut to the length limit.
        log_likelihoods: Of the task's labels for each example, where these were compared.
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


def predict(
    model: PreTrainedModel,
    task: Task,
    examples: Sequence[Example],
    max_input_bytes: int = 1024,
    strict: bool = False,
    batch_size: int = 32,
    num_beams: int = 1,
    progress: str = "",
    free: bool = False,
) -> Predictions:
    """Answers every example.

    Where a task has labels, the likeliest of them is the answer, so it always is one.

    Args:
        model: A fine-tuned model.
        task: What the examples belong to.
        examples: With or without gold.
        max_input_bytes: Longer inputs are cut at a character boundary and counted.
        strict: Refuses longer inputs instead.
        batch_size: Examples per batch.
        num_beams: 1 for greedy search.
        progress: Title of a progress bar; none where it is empty.
        free: Generates freely also where a task has labels.

    Raises:
        InputError: With `strict`, an input is over the limit.
    """
    inputs = [fit(task.input_text(e), max_input_bytes, strict, e.place or e.id) for e in examples]
    read = [text for text, _ in inputs]
    truncated = sum(was_cut for _, was_cut in inputs)
    if task.labels and not free:
        likelihoods = log_likelihoods(model, read, task.labels, batch_size, progress)
        texts = [task.labels[best] for best in likelihoods.argmax(1)]
        return Predictions(examples, texts, truncated, likelihoods)
    limits = [task.max_target_bytes(example) for example in examples]
    texts = generate_texts(model, read, limits, batch_size, num_beams, progress)
    return Predictions(examples, texts, truncated)


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


def write_predictions(path: str | os.PathLike[str], task: Task, predictions: Predictions) -> None:
    """Writes one JSON object a line: id, input fields, generated text, answer and gold text."""
    lines = []
    for example, text in zip(predictions.examples, predictions.texts, strict=True):
        parsed = task.parse(text, example)
        record = {
            "id": example.id,
            "input": dict(example.inputs),
            "text": text,
            "answer": task.answer(parsed, example),
            "unparsed": parsed.reason,
        }
        if example.gold is not None:
            record["target"] = task.target_text(example)
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


__all__ = ["Predictions", "fit", "predict", "write_predictions"]
