"""What a task is: how to read it, what the model sees and says, and how that is scored."""

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
    """One example, the same object from the reader to the score.

    Attributes:
        id: The name the file gives it, else its number or that of its line.
        inputs: What the model may see, by the names in `Task.input_fields`.
        gold: The right answer in the task's own terms; None where it is not known.
        place: `file:line` for error messages.
    """

    id: str
    inputs: Mapping[str, str]
    gold: Any = None
    place: str = ""


class Parsed(NamedTuple):
    """What a generated text says, in the terms of `Example.gold`.

    Attributes:
        value: Comparable with the gold; a best effort where the text is malformed.
        reason: Why the text is not an answer as it should be, or None where it is; `value`
            may be right all the same.
    """

    value: Any
    reason: str | None = None


class Task(ABC):
    """A text-to-text task. A subclass and one line in the registry add one to every command."""

    name: ClassVar[str]
    title: ClassVar[str]
    input_fields: ClassVar[tuple[str, ...]]
    main_score: ClassVar[str]
    """The key of `score` by which the best checkpoint is chosen; higher is better."""

    formats: ClassVar[str] = ""
    """The files that `read` takes, for the list of tasks."""

    max_input_bytes: ClassVar[int] = 1024
    """Longer inputs are shortened, unless another limit is given."""

    rivals: ClassVar[tuple[str, ...]] = ()
    """Texts whose likelihood `choose` compares with that of an answer."""

    labels: ClassVar[tuple[str, ...]] = ()
    """All texts that may be an answer; empty where answers are free."""

    @abstractmethod
    def read(self, path: str | Path) -> Iterable[Example]:
        """Yields the examples of a data file.

        Raises:
            InputError: Names file and line of what is malformed.
        """

    @abstractmethod
    def input_text(self, example: Example) -> str:
        """What the model reads."""

    @abstractmethod
    def target_text(self, example: Example) -> str:
        """What the model should write; no randomness, the reference of the evaluation."""

    def training_pair(self, example: Example, seed: int) -> tuple[str, str]:
        """Input and target for one training step; `seed` decides whatever is random in them."""
        return self.input_text(example), self.target_text(example)

    def fit(self, example: Example, max_bytes: int, stride: int | None = None) -> list[Example]:
        """Leaves out of an input that is too long what matters least.

        Where it stays too long all the same, the input text is cut at a character.

        Args:
            example: With or without gold.
            max_bytes: What the input text may have.
            stride: From the beginning of a window to that of the next, in bytes; half of what a
                window may show where it is None.

        Returns:
            The example, or a shorter one, or several that show overlapping windows of it. The gold
            of each is what is right for what it shows, None where nothing is.

        Raises:
            InputError: The limit leaves no room for what has to stay.
        """
        return [example]

    def choose(self, example: Example, texts: Sequence[str], log_likelihoods: np.ndarray) -> str:
        """The answer to an example that was read in windows: the likeliest of all.

        Args:
            example: The whole example.
            texts: What was generated for each window that `fit` returned.
            log_likelihoods: Of that text and of each of `rivals`, given the window; shape
                (windows, 1 + rivals).
        """
        return texts[int(log_likelihoods[:, 0].argmax())]

    def group(self, example: Example) -> str:
        """What an example has in common with others, which cross-validation keeps together."""
        return example.id

    def damage(self, example: Example, noise: Callable[[str], str]) -> Example:
        """The example with noise in its inputs, for measuring how robust a model is.

        Args:
            example: With or without gold, which stays.
            noise: Damages the syllables and blanks of a text.
        """
        inputs = {field: noise(text) for field, text in example.inputs.items()}
        return replace(example, inputs=inputs)

    @abstractmethod
    def parse(self, text: str, example: Example) -> Parsed:
        """Reads any string as an answer to `example`. Never raises."""

    def gold(self, example: Example) -> Any:
        """The gold of an example that has to have it.

        Raises:
            ValueError: It has none.
        """
        if example.gold is None:
            field = self.input_fields[0]
            raise ValueError(f"no gold for the {field} {example.inputs[field]!r}")
        return example.gold

    def score(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> dict[str, float]:
        """The official metrics in percent, and `unparsed`, the number of unreadable texts.

        Raises:
            ValueError: An example has no gold, or there is another number of texts.
        """
        parsed = [self.parse(t, e) for e, t in zip(examples, generated_texts, strict=True)]
        found = self.score_values(examples, [value for value, _ in parsed])
        unparsed = sum(reason is not None for _, reason in parsed)
        return {**found, "unparsed": float(unparsed)}

    @abstractmethod
    def score_values(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """The official metrics in percent.

        Args:
            examples: With gold.
            values: `Parsed.value` of the answer to each.
        """

    def label_scores(
        self, examples: Sequence[Example], generated_texts: Sequence[str]
    ) -> list[LabelScore]:
        """How well each label of the task is found; empty where answers consist of none."""
        return []

    def gold_of_target(self, target: str, example: Example) -> Any:
        """The gold that `target_text` was written from, as far as the text tells it."""
        return self.parse(target, example).value

    def score_likelihoods(
        self, examples: Sequence[Example], log_likelihoods: np.ndarray
    ) -> dict[str, float]:
        """The scores where the likeliest of `labels` is the answer.

        Args:
            examples: With gold.
            log_likelihoods: Of every label for each example, shape (examples, labels).

        Raises:
            ValueError: The shape is another.
        """
        shape = (len(examples), len(self.labels))
        if log_likelihoods.shape != shape:
            raise ValueError(f"log likelihoods of shape {log_likelihoods.shape}, not {shape}")
        return self.score(examples, [self.labels[best] for best in log_likelihoods.argmax(1)])

    @abstractmethod
    def max_target_bytes(self, example: Example) -> int:
        """A bound on the bytes of a sensible answer, where generation stops at the latest."""

    def form(self, example: Example) -> Form | None:
        """What every sensible answer to `example` looks like; None where any text may be one.

        It has to admit what `target_text` would write.
        """
        return Parts((self.labels,)) if self.labels else None

    @abstractmethod
    def answer(self, parsed: Parsed, example: Example) -> Any:
        """The parsed answer as JSON for `predictions.jsonl`."""

    def show(self, parsed: Parsed, example: Example) -> str:
        """The parsed answer as a person reads it in a terminal."""
        return str(parsed.value)

    def split_texts(self, lines: Sequence[str], count: int) -> list[str]:
        """The generated texts in the lines of a plain predictions file: one a line.

        Args:
            lines: All lines.
            count: How many texts there should be; another number is refused afterwards.
        """
        return list(lines)

    def baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> list[str] | None:
        """Texts that a trivial method learnt from `train` would generate, or None without one."""
        return None

    def example(self, **inputs: str) -> Example:
        """An example without gold, made from its input fields."""
        missing = [field for field in self.input_fields if field not in inputs]
        unknown = [field for field in inputs if field not in self.input_fields]
        if missing or unknown:
            raise ValueError(
                f"task {self.name} takes the fields {', '.join(self.input_fields)}"
                f"; missing: {missing}, unknown: {unknown}"
            )
        return Example(id="", inputs=inputs)
