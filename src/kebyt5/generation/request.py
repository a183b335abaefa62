"""What is asked of the engine, and what comes back."""

import codecs
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Literal

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
    """How one text is generated.

    Attributes:
        max_new_bytes: Where generation stops at the latest.
        constraint: What may be generated; anything where it is None.
        temperature: 0 for the likeliest byte each time, else of the sampling.
        top_p: Share of the probability that is sampled from, the likeliest bytes first.
        seed: Decides what is sampled, in float32 whatever else is generated at the same time.
        drafts: Whether to guess at bytes. It changes the time, in float32 never the text; with
            eight-bit weights and in half precision it may decide what is nearly equally likely.
        stop: Texts before the first of which to be complete the output ends.
        deadline: Seconds after submission at which the text ends where it is.
        sentinels: The convention for `<extra_id_i>` in input and output.

    Raises:
        ValueError: A value makes no sense.
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
        if self.max_new_bytes < 1:
            raise ValueError(f"max_new_bytes is {self.max_new_bytes}; at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}; from 0, for greedy, upwards")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; above 0, at most 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed is {self.seed}; from 0 on, below 2^64")
        if "" in self.stop:
            raise ValueError("stop holds an empty text, which every output ends with")
        if self.deadline is not None and not self.deadline >= 0:
            raise ValueError(f"deadline is {self.deadline} seconds; at least 0")


@dataclass
class GenerationStatistics:
    """How the bytes of a text, or of many, came about.

    Attributes:
        passes: Of the decoder, with those that read an output again where its next id was in doubt.
        rows: Byte positions that the decoder computed.
        decided: Ids that were chosen by the last logits of a pass.
        copied: Ids that a draft had guessed right although others were allowed.
        forced: Ids that the constraint left no choice about.
        proposed: Ids of drafts where others were allowed; copied if they are right.
        proposed_forced: Ids without a choice, also those that a wrong guess before them undid.
        ties: Choices where another id was within 1e-5, so that rounding may have decided.
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
        """Ids in all, ends of sequence among them."""
        return self.decided + self.copied + self.forced

    @property
    def bytes_per_pass(self) -> float | None:
        """How many came of a pass of the decoder; None where no pass was needed."""
        return self.bytes / self.passes if self.passes else None

    def __iadd__(self, other: "GenerationStatistics") -> "GenerationStatistics":
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self


@dataclass(frozen=True)
class Generated:
    """A finished text.

    Attributes:
        text: What the ids say, without special tokens; never half a character at a cut.
        ids: As generated, the end of sequence included where it was reached, up to the byte that
            completed a stop text.
        finish: Why it ends: at the end of sequence, at the length limit, before a stop text, by
            cancellation, or at its deadline.
        statistics: How it came about.
    """

    text: str
    ids: list[int]
    finish: Finish
    statistics: GenerationStatistics


class GenerationError(RuntimeError):
    """Some of several requests failed, after all of them were worked on.

    Its cause is the first failure.

    Attributes:
        outcomes: For each request what was generated, or why it was not.
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
    """A text that is being generated. All methods may be called from any thread.

    Attributes:
        input_ids: What the model reads, (n,).
        options: How it is generated.
        size: How many ids there are so far.
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
        """Whether the text is finished, or has failed."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Ends the text where it is; `result` then returns what there is of it."""
        self._cancelled.set()

    def result(self, timeout: float | None = None) -> Generated:
        """Waits for the text; something else has to drive the engine meanwhile.

        Raises:
            TimeoutError: It is not finished after so many seconds.
            Exception: Whatever kept it from being generated, such as a `ConstraintError`.
        """
        outcome = self.outcome(timeout)
        if isinstance(outcome, Generated):
            return outcome
        raise outcome

    def outcome(self, timeout: float | None = None) -> Generated | BaseException:
        """As `result`, but returns what it would raise.

        Raises:
            TimeoutError: It is not finished after so many seconds.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"not generated within {timeout} seconds")
        assert self._outcome is not None
        return self._outcome

    def stream(self) -> Iterator[str]:
        """Yields the text as it grows, in whole characters; once, for one reader.

        Raises:
            Exception: As `result`, after what was generated before.
        """
        while (piece := self._pieces.get()) is not None:
            yield piece
        self.result()

    def new_text(self) -> str:
        """What has come since the last call, without waiting; instead of `stream`."""
        pieces = []
        with suppress(queue.Empty):
            while (piece := self._pieces.get_nowait()) is not None:
                pieces.append(piece)
        return "".join(pieces)

    def interruption(self) -> Finish | None:
        """Why generation has to stop now, whatever the model says."""
        if self._cancelled.is_set():
            return "cancelled"
        if self._due is not None and time.monotonic() >= self._due:
            return "deadline"
        return None

    def emit(self, piece: str) -> None:
        """Hands on a piece of text."""
        if piece:
            self._pieces.put(piece)

    def end(self, outcome: Generated | BaseException) -> None:
        """Hands on the whole text or why there is none."""
        self._outcome = outcome
        self._ended.set()
        self._pieces.put(None)


@dataclass
class TextStream:
    """Turns ids into text as they come, whole characters only.

    The text is that of `ByteTokenizer.decode` without special tokens.

    Attributes:
        sentinels: The convention for `<extra_id_i>`.
        stop: Texts before the first of which to be complete the output ends; of several that
            are complete at once, the longest.
        text: What has been said so far.
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
        """The characters that the next ids complete, as far as no stop text may begin in them."""
        return self._release(self._decoder.decode(self._bytes(ids)), end=False)

    def close(self, cut: bool) -> str:
        """What is left at the end.

        Args:
            cut: Whether the model would have gone on; half a character is dropped then, and
                else, as it stands for no character, becomes U+FFFD.
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
            # The one that is complete first, however many characters come at once.
            self.stopped = True
            self._held = self._held[: min(found)[1]]
        # Whatever a stop text may begin with waits for what comes behind it.
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
    """How many characters at the end of a text are the beginning of a word."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if word.startswith(text[-size:])), 0)


def encode_input(text: str, sentinels: Sentinels) -> np.ndarray:
    """The ids of an input.

    Raises:
        InputError: It has more blanks than the convention has ids for.
    """
    try:
        return shared_tokenizer().encode_array(text, sentinels=sentinels)
    except ValueError as error:
        raise InputError(str(error)) from error


@cache
def shared_tokenizer() -> ByteTokenizer:
    """The one that texts are encoded with; making another takes longer than encoding many."""
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
