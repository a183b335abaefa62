"""The interface of a task: its data, the model's input and output, and their scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kebyt5.tasks.forms import Form, Parts
from kebyt5.tasks.metrics.classification import LabelScore


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a task.

    Attributes:
        id: The name that the file gives it, or else its number or line.
        inputs: The input fields, by the names in `Task.input_fields`.
        gold: The right answer in the task's own terms; None if unknown.
        place: `file:line` for error messages.
    """

    id: str
    inputs: Mapping[str, str]
    gold: Any = None
    place: str = ""


class Parsed(NamedTuple):
    """A generated text, read as an answer in the terms of `Example.gold`.

    Attributes:
        value: The answer, comparable with the gold; a best effort if the text is malformed.
        reason: Why the text is malformed; None where it is well-formed. The value of a malformed
            text may be right all the same.
    """

    value: Any
    reason: str | None = None


class Task(ABC):
    """A text-to-text task. To add one to every command, write a subclass and register it."""

    name: ClassVar[str]
    title: ClassVar[str]
    input_fields: ClassVar[tuple[str, ...]]
    main_score: ClassVar[str]
    """The key of `score` by which the best checkpoint is chosen; higher is better."""

    formats: ClassVar[str] = ""
    """The file formats that `read` accepts, for the list of tasks."""

    max_input_bytes: ClassVar[int] = 1024
    """Default limit of an input text; longer ones are shortened."""

    rivals: ClassVar[tuple[str, ...]] = ()
    """Texts whose likelihood `choose` compares with that of an answer."""

    labels: ClassVar[tuple[str, ...]] = ()
    """All texts that may be an answer; empty if answers are free text."""

    @property
    def takes_plain_text(self) -> bool:
        """Whether a new input is a line of plain text; else it is a JSON object with the fields."""
        return len(self.input_fields) == 1

    @abstractmethod
    def read(self, path: str | Path) -> Iterable[Example]:
        """Yields the examples of a data file.

        Raises:
            InputError: The file cannot be read or is malformed; names the file and the line.
        """

    @abstractmethod
    def input_text(self, example: Example) -> str:
        """Returns the text that the model reads."""

    @abstractmethod
    def target_text(self, example: Example) -> str:
        """Returns the text that the model should write, without randomness; used in evaluation."""

    def training_pair(self, example: Example, seed: int) -> tuple[str, str]:
        """Returns input and target for one training step; `seed` decides what is random in them."""
        return self.input_text(example), self.target_text(example)

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Shortens an example whose input is too long by what matters least.

        If the input text is still too long afterwards, the caller truncates it.

        Args:
            example: The example, with or without gold.
            max_bytes: Largest size of the input text.
            stride: Bytes from the beginning of a window to that of the next; by default half of
                what a window can show.

        Returns:
            The example, or a shorter one, or several that show overlapping windows of it. The gold
            of each is what is right for the part it shows; None if nothing is.

        Raises:
            InputError: The limit leaves no room for the parts that have to stay.
        """
        return [example]

    def choose(self, example: Example, texts: Sequence[str], log_likelihoods: np.ndarray) -> str:
        """Chooses the answer to an example that was read in windows; by default the likeliest one.

        Args:
            example: The whole example.
            texts: The text generated for each window that `fit` returned.
            log_likelihoods: Log-likelihoods of that text and of each of `rivals`, given the window;
                shape (windows, 1 + rivals).
        """
        return texts[int(log_likelihoods[:, 0].argmax())]

    def group(self, example: Example) -> str:
        """Returns a key; examples with the same key stay in the same fold of cross-validation."""
        return example.id

    def damage(self, example: Example, noise: Callable[[str], str]) -> Example:
        """Adds noise to the inputs of an example, for measuring how robust a model is.

        Args:
            example: The example; its gold stays unchanged.
            noise: Damages the syllables and blanks of a text.
        """
        inputs = {field: noise(text) for field, text in example.inputs.items()}
        return replace(example, inputs=inputs)

    @abstractmethod
    def parse(self, text: str, example: Example) -> Parsed:
        """Reads a generated text as an answer to `example`. Accepts any string and never raises."""

    def gold(self, example: Example) -> Any:
        """Returns the gold of an example.

        Raises:
            ValueError: The example has no gold.
        """
        if example.gold is None:
            field = self.input_fields[0]
            raise ValueError(f"no gold for the {field} {example.inputs[field]!r}")
        return example.gold

    def score(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> dict[str, float]:
        """Computes the official metrics in percent, and `unparsed`, the number of malformed texts.

        Raises:
            ValueError: An example has no gold, or there are not as many texts as examples.
        """
        parsed = [self.parse(t, e) for e, t in zip(examples, generated_texts, strict=True)]
        found = self.score_values(examples, [value for value, _ in parsed])
        unparsed = sum(reason is not None for _, reason in parsed)
        return {**found, "unparsed": float(unparsed)}

    @abstractmethod
    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Computes the official metrics in percent.

        Args:
            examples: Examples with gold.
            values: `Parsed.value` of the answer to each example.
        """

    def label_scores(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> list[LabelScore]:
        """Scores each label of the task separately; empty if its answers have no labels."""
        return []

    def gold_of_target(self, target: str, example: Example) -> Any:
        """Recovers the gold from which `target_text` was written, as far as the text allows."""
        return self.parse(target, example).value

    def score_likelihoods(
        self, examples: Sequence[Example], log_likelihoods: np.ndarray
    ) -> dict[str, float]:
        """Computes the scores with the likeliest of `labels` as the answer.

        Args:
            examples: Examples with gold.
            log_likelihoods: Log-likelihoods of every label, shape (examples, labels).

        Raises:
            ValueError: The shape is wrong.
        """
        shape = (len(examples), len(self.labels))
        if log_likelihoods.shape != shape:
            raise ValueError(f"log likelihoods of shape {log_likelihoods.shape}, not {shape}")
        return self.score(examples, [self.labels[best] for best in log_likelihoods.argmax(1)])

    @abstractmethod
    def max_target_bytes(self, example: Example) -> int:
        """Returns the largest size of a sensible answer, at which generation stops."""

    def form(self, example: Example) -> Form | None:
        """Returns the form of every sensible answer to `example`; None if any text may be one.

        The form has to allow what `target_text` would write.
        """
        return Parts((self.labels,)) if self.labels else None

    @abstractmethod
    def to_json(self, parsed: Parsed, example: Example) -> Any:
        """Converts the parsed answer to JSON for `predictions.jsonl`."""

    def show(self, parsed: Parsed, example: Example) -> str:
        """Formats the parsed answer for reading in a terminal."""
        return str(parsed.value)

    def split_texts(self, lines: Sequence[str], count: int) -> list[str]:
        """Extracts the generated texts from the lines of a plain predictions file: one per line.

        Args:
            lines: All lines of the file.
            count: Expected number of texts; the caller refuses any other.
        """
        return list(lines)

    @property
    def has_baseline(self) -> bool:
        """Whether the task has a trivial baseline."""
        return type(self).baseline is not Task.baseline

    def baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> list[str] | None:
        """Answers `examples` by a trivial method learnt from `train`; None if there is none."""
        return None

    def example(self, **inputs: str) -> Example:
        """Makes an example without gold from its input fields.

        Raises:
            ValueError: A field is missing or unknown.
        """
        missing = [field for field in self.input_fields if field not in inputs]
        unknown = [field for field in inputs if field not in self.input_fields]
        if missing or unknown:
            raise ValueError(
                f"task {self.name} takes the fields {', '.join(self.input_fields)}"
                f"; missing: {missing}, unknown: {unknown}"
            )
        return Example(id="", inputs=inputs)


__all__ = ["Example", "Parsed", "Task"]
