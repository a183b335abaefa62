"""Fills the blanks of a text, as the model was pretrained to do."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from kebyt5.errors import InputError
from kebyt5.generation.constraints import UTF8
from kebyt5.generation.constraints.constraint import Constraint, byte_ids, mask_of
from kebyt5.generation.engine import Engine
from kebyt5.models.tokenization_kebyt5 import EOS, OFFSET, ByteTokenizer

MAX_BLANKS = ByteTokenizer.NUM_PRETRAINING_SENTINELS
_BLANK = re.compile(r"<extra_id_(0|[1-9][0-9]?)>")
_LIKE_A_BLANK = re.compile(r"<extra_id_[^<>]*>")
_UTF8 = UTF8()
_EDGES = {EOS, *map(ByteTokenizer.pretraining_sentinel_id, range(MAX_BLANKS))}


@dataclass(frozen=True)
class Filling:
    """One way to fill the blanks.

    Attributes:
        spans: The text for each blank.
        text: The whole text with its blanks filled.
        log_likelihood: Natural logarithm of the probability of the spans.
    """

    spans: tuple[str, ...]
    text: str
    log_likelihood: float


class SpanGrammar(Constraint):
    """Allows `<extra_id_0>` span `<extra_id_1>` span … `</s>`, every span being valid UTF-8.

    Args:
        blanks: Number of spans.
        max_bytes: Most bytes of a span, at least 4; a character that does not fit is not begun.

    Attributes:
        closing_ids: The first sentinel, which opens the first span, then the id that closes each
            span.
    """

    def __init__(self, blanks: int, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.closing_ids = [ByteTokenizer.pretraining_sentinel_id(i) for i in range(blanks)] + [EOS]

    def start(self) -> tuple[int, int, str]:
        """The number of the span (0 before the first), its bytes so far, and the UTF-8 state."""
        return 0, 0, _UTF8.start()

    def allowed(self, state: tuple[int, int, str]) -> np.ndarray:
        """Bytes as far as there is room, and the sentinel that ends a span that is not empty."""
        span, size, character = state
        if character != _UTF8.start():
            return _UTF8.allowed(character)
        room = min(4, self._max_bytes - size) if span else 0
        return _between_characters(room, self.closing_ids[span] if size or not span else None)

    def advance(self, state: tuple[int, int, str], byte_id: int) -> tuple[int, int, str]:
        """The state after one more id."""
        span, size, character = state
        if character == _UTF8.start() and byte_id == self.closing_ids[span]:
            return span + 1, 0, character
        return span, size + 1, _UTF8.advance(character, byte_id)


@cache
def _between_characters(room: int, closing: int | None) -> np.ndarray:
    """What may follow a whole character: the first byte of one that fits, or `closing`."""
    leads = [lead for lead, size in _character_sizes().items() if size <= room]
    return mask_of(leads if closing is None else [*leads, closing])


@cache
def _character_sizes() -> dict[int, int]:
    """Maps the id of a character's first byte to its number of bytes."""
    sizes = {}
    for lead in np.flatnonzero(_UTF8.allowed(_UTF8.start())).tolist():
        if lead != EOS:
            state, sizes[lead] = _UTF8.advance(_UTF8.start(), lead), 1
            while state != _UTF8.start():
                state = _UTF8.advance(state, int(_UTF8.allowed(state).argmax()))
                sizes[lead] += 1
    return sizes


def fill(
    engine: Engine,
    text: str,
    num_beams: int = 8,
    results: int = 5,
    max_bytes: int = 48,
    before_pass: Callable[[], object] | None = None,
) -> list[Filling]:
    """Fills the blanks of a text by beam search, the likeliest filling first.

    Args:
        engine: An engine of a model pretrained by span corruption.
        text: A text with the blanks `<extra_id_0>`, `<extra_id_1>`, … in this order, 11 at most.
        num_beams: Width of the search.
        results: Number of fillings to return, no more than beams.
        max_bytes: Maximum bytes of a filled span.
        before_pass: As for `Engine.search`.

    Raises:
        InputError: The text has no blanks, more than 11 of them, or blanks that are out of order;
            or `results` or `max_bytes` is out of range.

    Example:
        >>> fill(Engine(kebyt5.load("tiny")), "한국의 수도는 <extra_id_0>이다.")  # doctest: +SKIP
    """
    for found in _LIKE_A_BLANK.findall(text):
        if not _BLANK.fullmatch(found):
            raise InputError(
                f"{found[:30]} is not a blank; blanks are <extra_id_0>, <extra_id_1>, … up to"
                f" <extra_id_{MAX_BLANKS - 1}>"
            )
    numbers = [int(number) for number in _BLANK.findall(text)]
    if len(numbers) > MAX_BLANKS:
        raise InputError(
            f"{len(numbers)} blanks: no more than {MAX_BLANKS}, since the ids that would mark the"
            " others are bytes of Korean text; fill the text in parts"
        )
    if numbers != list(range(len(numbers))) or not numbers:
        has = f"blanks {', '.join(map(str, numbers))}" if numbers else "no blank"
        raise InputError(
            f"the text has {has}; write <extra_id_0>, <extra_id_1>, … once each in this order where"
            " something is missing"
        )
    if max_bytes < 4:
        raise InputError(f"a span of at most {max_bytes} bytes has no room for a character, 4")
    if not 1 <= results <= num_beams:
        raise InputError(
            f"{results} results of {num_beams} beams: each beam gives one; ask for 1 to"
            f" {num_beams}, or search with more beams"
        )
    pieces = _BLANK.split(text)[::2]
    grammar = SpanGrammar(len(numbers), max_bytes)
    ids, closing_ids = _with_sentinels(pieces), grammar.closing_ids
    found = engine.search(ids, grammar, num_beams, max_bytes + 1, closing_ids, before_pass)
    fillings = []
    for each in found[:results]:
        spans = _spans(each.ids)
        whole = "".join(a + b for a, b in zip(pieces, (*spans, ""), strict=True))
        fillings.append(Filling(spans, whole, each.log_likelihood))
    return fillings


def _with_sentinels(pieces: Sequence[str]) -> np.ndarray:
    """Encodes the pieces of a text with a sentinel between them, as in pretraining.

    Anything else that looks like a special token is plain text.
    """
    ids = byte_ids(pieces[0])
    for number, piece in enumerate(pieces[1:]):
        ids += [ByteTokenizer.pretraining_sentinel_id(number), *byte_ids(piece)]
    return np.array([*ids, EOS])


def _spans(ids: Sequence[int]) -> tuple[str, ...]:
    """The text of each blank in an output that `SpanGrammar` allows."""
    is_edge = np.array([byte_id in _EDGES for byte_id in ids])
    parts = np.split(np.array(ids) - OFFSET, np.flatnonzero(is_edge))[1:-1]
    return tuple(part[1:].astype(np.uint8).tobytes().decode() for part in parts)


__all__ = ["MAX_BLANKS", "Filling", "SpanGrammar", "fill"]
