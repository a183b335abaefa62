"""Requests to the engine: their options, growing texts and results."""

import codecs
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Integral
from typing import Any, Literal

import numpy as np

from kebyt5.errors import InputError
from kebyt5.generation.constraints.constraint import Constraint
from kebyt5.models.tokenization_kebyt5 import (
    LAST_BYTE,
    LAST_SENTINEL,
    OFFSET,
    ByteTokenizer,
    Sentinels,
)

Finish = Literal["eos", "length", "stop", "cancelled", "deadline"]


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Settings for generating one text.

    Attributes:
        max_new_bytes: Maximum number of bytes to generate.
        constraint: What may be generated; None for anything.
        temperature: 0 for greedy decoding, else the sampling temperature.
        top_p: Share of the probability to sample from, the likeliest bytes first (nucleus).
        seed: Seed of the sampling. In float32 the sample does not depend on other requests.
        drafts: Whether to guess bytes ahead. In float32 this never changes the text; with int8
            weights and in half precision it may decide between nearly equally likely bytes.
        stop: Stop texts; the output ends before the first one to be completed.
        deadline: Seconds after submission at which the text ends, finished or not.
        sentinels: Convention for `<extra_id_i>` in input and output.

    Raises:
        ValueError: A value is out of range.
    """

    max_new_bytes: int = 256
    constraint: Constraint | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    drafts: bool = True
    stop: tuple[str, ...] = ()
    deadline: float | None = None
    sentinels: Sentinels = "huggingface"

    def __post_init__(self) -> None:
        for name in ("max_new_bytes", "seed"):
            if not isinstance(getattr(self, name), Integral):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it has to be an integer")
        if self.max_new_bytes < 1:
            raise ValueError(f"max_new_bytes is {self.max_new_bytes}; it has to be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}; it has to be 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it has to be above 0 and at most 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed is {self.seed}; it has to be at least 0 and below 2^64")
        stop: Any = self.stop  # whatever the caller gave
        if not isinstance(stop, tuple | list) or not all(isinstance(each, str) for each in stop):
            raise ValueError(f"stop is {stop!r}; give a tuple of texts")
        if not isinstance(self.constraint, Constraint | None):
            raise ValueError(f"constraint is {self.constraint!r}; give a Constraint")
        if "" in self.stop:
            raise ValueError("stop holds an empty text, which would end every output at once")
        if self.deadline is not None and not self.deadline >= 0:
            raise ValueError(f"deadline is {self.deadline} seconds; it has to be at least 0")


@dataclass
class GenerationStatistics:
    """How many ids of one or many texts were decided, copied or forced, and in how many passes.

    Attributes:
        passes: Decoder passes, including those of plain generation where an id was in doubt.
        rows: Byte positions that the decoder computed.
        decided: Ids chosen by the last logits of a pass.
        copied: Ids that a draft guessed right although others were allowed.
        forced: Ids that were the only ones allowed by the constraint.
        proposed: Ids in drafts where others were allowed; those that were right are `copied`.
        proposed_forced: Forced ids, including those dropped after a wrong guess before them.
        ties: Choices where another logit was within 1e-5, so that rounding may have decided.
    """

    passes: int = 0
    rows: int = 0
    decided: int = 0
    copied: int = 0
    forced: int = 0
    proposed: int = 0
    proposed_forced: int = 0
    ties: int = 0

    @property
    def bytes(self) -> int:
        """All ids, ends of sequence included."""
        return self.decided + self.copied + self.forced

    @property
    def bytes_per_pass(self) -> float | None:
        """Ids per decoder pass; None if no pass was needed."""
        return self.bytes / self.passes if self.passes else None

    @classmethod
    def sum(cls, parts: Iterable["GenerationStatistics"]) -> "GenerationStatistics":
        """Sums the statistics of several texts."""
        total = cls()
        for part in parts:
            total += part
        return total

    def __iadd__(self, other: "GenerationStatistics") -> "GenerationStatistics":
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self


@dataclass(frozen=True)
class Generated:
    """A finished text.

    Attributes:
        text: The decoded text without special tokens; a character cut in half is dropped.
        ids: All generated ids, including the end of sequence if it was reached, and the bytes of a
            stop text.
        finish: Why the text ends: end of sequence, length limit, stop text, cancellation or
            deadline.
        statistics: How the ids came about.
    """

    text: str
    ids: list[int]
    finish: Finish
    statistics: GenerationStatistics


class GenerationError(RuntimeError):
    """Some of several requests failed; all the others were finished.

    Its cause is the first failure.

    Attributes:
        outcomes: For each request its `Generated`, or the exception that ended it.
    """

    def __init__(self, outcomes: Sequence[Generated | BaseException]) -> None:
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        first = outcomes.index(failures[0])
        super().__init__(
            f"{len(failures)} of {len(outcomes)} inputs failed; the first, number {first}:"
            f" {failures[0]}"
        )
        self.outcomes = outcomes
        self.__cause__ = failures[0]


class Request:
    """A submitted request and its growing text; thread-safe.

    Attributes:
        input_ids: Ids that the model reads, (n,).
        options: How the text is generated.
        size: Number of ids generated so far.
    """

    def __init__(self, input_ids: np.ndarray, options: GenerationOptions) -> None:
        self.input_ids = input_ids
        self.options = options
        self.size = 0
        self._due = None if options.deadline is None else time.monotonic() + options.deadline
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._outcome: Generated | BaseException | None = None
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    @property
    def done(self) -> bool:
        """Whether the request is finished or has failed."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Ends generation; `result` then returns what has been generated."""
        self._cancelled.set()

    def result(self, timeout: float | None = None) -> Generated:
        """Waits for the text while another thread drives the engine.

        Args:
            timeout: Seconds to wait; None to wait without limit.

        Raises:
            TimeoutError: The request is not finished after `timeout` seconds.
            Exception: Whatever made the request fail, such as a `ConstraintError`.
        """
        outcome = self.outcome(timeout)
        if isinstance(outcome, Generated):
            return outcome
        raise outcome

    def outcome(self, timeout: float | None = None) -> Generated | BaseException:
        """Waits like `result`, but returns the exception of a failed request.

        Args:
            timeout: Seconds to wait; None to wait without limit.

        Raises:
            TimeoutError: The request is not finished after `timeout` seconds.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"not generated within {timeout} seconds")
        assert self._outcome is not None
        return self._outcome

    def stream(self) -> Iterator[str]:
        """Yields the text as it grows, in whole characters; once, for one reader.

        Raises:
            Exception: The request failed; raised after the text generated until then.
        """
        while (piece := self._pieces.get()) is not None:
            yield piece
        self.result()

    def new_text(self) -> str:
        """Returns the text since the last call, without waiting; use it instead of `stream`."""
        pieces = []
        with suppress(queue.Empty):
            while (piece := self._pieces.get_nowait()) is not None:
                pieces.append(piece)
        return "".join(pieces)

    def interruption(self) -> Finish | None:
        """Why generation has to stop now: it was cancelled or is past its deadline."""
        if self._cancelled.is_set():
            return "cancelled"
        if self._due is not None and time.monotonic() >= self._due:
            return "deadline"
        return None

    def emit(self, piece: str) -> None:
        """Passes a piece of text to the reader."""
        if piece:
            self._pieces.put(piece)

    def end(self, outcome: Generated | BaseException) -> None:
        """Sets the outcome and wakes whoever waits for it."""
        self._outcome = outcome
        self._ended.set()
        self._pieces.put(None)


@dataclass
class TextStream:
    """Turns ids into text as they come, whole characters only.

    The text is that of `ByteTokenizer.decode` without special tokens.

    Attributes:
        sentinels: Convention for `<extra_id_i>`.
        stop: Stop texts; the output ends before the first one to be completed, and of several
            completed at once, before the longest.
        text: The text released so far.
        stopped: Whether a stop text was found.
    """

    sentinels: Sentinels = "huggingface"
    stop: tuple[str, ...] = ()
    text: str = ""
    stopped: bool = False
    _held: str = ""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def feed(self, ids: Sequence[int]) -> str:
        """Returns the characters that ids complete, but none that may begin a stop text."""
        return self._release(self._decoder.decode(self._bytes(ids)), end=False)

    def close(self, cut: bool) -> str:
        """Returns what is left at the end.

        Args:
            cut: Whether generation was cut off. If so, an incomplete character is dropped; if not,
                the model meant it to end there, and it becomes U+FFFD.
        """
        return self._release("" if cut else self._decoder.decode(b"", final=True), end=True)

    def _release(self, piece: str, end: bool) -> str:
        if self.stopped or not (piece or end):
            return ""
        self._held += piece
        found = [
            (place + len(word), place)
            for word in self.stop
            if (place := self._held.find(word)) >= 0
        ]
        if found:
            # The one completed first, however many characters arrive at once.
            self.stopped = True
            self._held = self._held[: min(found)[1]]
        # What may be the beginning of a stop text waits for what follows it.
        waiting = 0
        if not end and not self.stopped:
            waiting = max((_overlap(self._held, word) for word in self.stop), default=0)
        released = self._held[: len(self._held) - waiting]
        self._held = self._held[len(released) :]
        self.text += released
        return released

    def _bytes(self, ids: Sequence[int]) -> bytes:
        parts = []
        for i in ids:
            if self.sentinels == "pretraining" and LAST_SENTINEL <= i <= LAST_BYTE:
                parts.append(b"<extra_id_%d>" % (LAST_BYTE - i))
            elif OFFSET <= i <= LAST_BYTE:
                parts.append(bytes([i - OFFSET]))
        return b"".join(parts)


def _overlap(text: str, word: str) -> int:
    """The number of characters at the end of a text that begin a word."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if word.startswith(text[-size:])), 0)


def encode_input(text: str, sentinels: Sentinels) -> np.ndarray:
    """Encodes an input.

    Raises:
        InputError: The text has more blanks than the convention has ids for.
    """
    try:
        return shared_tokenizer().encode_array(text, sentinels=sentinels)
    except ValueError as error:
        raise InputError(str(error)) from error


@cache
def shared_tokenizer() -> ByteTokenizer:
    """Returns the tokenizer of this process; making one takes longer than encoding many texts."""
    return ByteTokenizer()


__all__ = [
    "Finish",
    "Generated",
    "GenerationError",
    "GenerationOptions",
    "GenerationStatistics",
    "Request",
    "TextStream",
    "encode_input",
    "shared_tokenizer",
]
