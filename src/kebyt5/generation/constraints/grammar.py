"""Constraints from regular expressions, JSON schemas and Lark grammars, by llguidance."""

import json
import re
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kebyt5.errors import one_line
from kebyt5.generation.constraints.constraint import Constraint, ConstraintError, mask_of
from kebyt5.generation.constraints.emptiness import (
    is_empty_schema,
    require_no_tokens,
    with_optional_terminals,
)
from kebyt5.generation.constraints.schema import read_schema, require_whole_pattern
from kebyt5.generation.constraints.trial import (
    LIMITS,
    MAX_UNTRIED,
    MAX_UNTRIED_PATTERNS,
    require_compilable,
    require_no_error,
)
from kebyt5.models.offsets import has_surrogate
from kebyt5.models.tokenization_kebyt5 import EOS, LAST_BYTE, OFFSET, VOCABULARY

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer


_INTERSECTS = re.compile(r"[&~]|%json")
"""What in a Lark grammar may make patterns intersect; in literals it only costs time."""

_NO_TEXT = "the grammar allows no text at all"
_SLOW = 0.01
"""Seconds of processor time; a byte that takes longer delays all other requests."""
_MAX_SLOW = 20
"""Most slow bytes in a text."""
_TRIED = 1000
"""Forced bytes to follow when a new grammar is tried for explosion."""


class Grammar(Constraint):
    """Allows all texts of a formal language, each followed by the end of sequence.

    Make one with `regex`, `json_schema` or `lark`. Problems that show only later, such as a rule
    that takes too long at some byte, end the request with a `ConstraintError` as well.

    Args:
        grammar: A grammar serialized by llguidance.

    Raises:
        ConstraintError: The grammar cannot be read, is too complex, or allows no text.
    """

    def __init__(self, grammar: str) -> None:
        self._grammar = grammar
        self.renew()
        self._try_out()

    def _try_out(self) -> None:
        """Tries the first byte after the forced ones, where most exploding grammars explode."""
        state = self.start()
        for _ in range(_TRIED):
            ids = np.flatnonzero(self.allowed(state))[::-1].tolist()
            following = [self.advance(state, byte_id) for byte_id in ids if byte_id != EOS]
            if not any(self.allowed(each).any() for each in following) and EOS not in ids:
                raise ConstraintError(_NO_TEXT)
            if len(ids) > 1 or not following:
                return
            (state,) = following

    @classmethod
    def regex(cls, pattern: str) -> "Grammar":
        r"""Allows texts that a regular expression matches as a whole.

        Args:
            pattern: An expression of Rust's regex crate, without anchors or look-around.
        """
        from llguidance import LLMatcher

        require_whole_pattern(pattern)
        compiled = LLMatcher.grammar_from_regex(_characters(pattern))
        if len(pattern) > MAX_UNTRIED:
            require_compilable(compiled)
        return cls(compiled)

    @classmethod
    def json_schema(cls, schema: str | Mapping[str, Any]) -> "Grammar":
        """Allows JSON that satisfies a schema, without whitespace between its parts.

        Args:
            schema: The schema as JSON text or as a mapping.
        """
        from llguidance import LLMatcher

        content = read_schema(schema)
        text = _characters(json.dumps(content, ensure_ascii=False))  # without escapes in names
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                text, overrides={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise ConstraintError(f"the schema cannot be read: {one_line(error)}") from error
        patterns = text.count('"pattern"') + text.count('"format"')
        if len(text) > MAX_UNTRIED or patterns > MAX_UNTRIED_PATTERNS or '"multipleOf"' in text:
            require_compilable(grammar)
        made = cls(grammar)
        if is_empty_schema(content):
            raise ConstraintError(_NO_TEXT)
        return made

    @classmethod
    def lark(cls, grammar: str) -> "Grammar":
        """Allows texts of a context-free grammar.

        Args:
            grammar: A grammar in llguidance's variant of Lark's syntax; its first rule is `start`.
        """
        from llguidance import LLMatcher

        compiled = LLMatcher.grammar_from_lark(_characters(grammar))
        require_no_tokens(grammar)
        if len(grammar) > MAX_UNTRIED or _INTERSECTS.search(grammar):
            require_compilable(compiled)
        made = cls(compiled)
        if (optional := with_optional_terminals(grammar)) is not None:
            compiled = LLMatcher.grammar_from_lark(optional)
            if len(optional) > MAX_UNTRIED:
                require_compilable(compiled)
            matcher = _new_matcher(compiled)
            if not (matcher.is_error() or matcher.is_accepting()):
                raise ConstraintError(_NO_TEXT)
        return made

    def start(self) -> "_State":
        """A start state with its own matcher."""
        return _State(_Walk(self))

    def allowed(self, state: "_State") -> np.ndarray:
        """The ids that may come next."""
        return state.mask

    def advance(self, state: "_State", byte_id: int) -> "_State":
        """The state after one more id."""
        return _State(state.walk, state, byte_id)

    def matcher(self) -> "LLMatcher":
        """A matcher at the start; all matchers share one cache of the language."""
        return self._matcher.deep_copy()

    def renew(self) -> None:
        """Clears the shared cache, which is limited and may be filled by other texts."""
        self._matcher = _new_matcher(self._grammar)
        require_no_error(self._matcher.get_error())


class _SlowError(ConstraintError):
    """A grammar delays other requests; clearing its cache would not help."""


class _Walk:
    """Moves one mutable matcher between immutable states."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._matcher = grammar.matcher()
        # The state of the matcher; a state holds its walk, and a cycle would outlive both for long.
        self._state: weakref.ref[_State] | None = None  # None at the start
        self._is_renewed = False
        self._slow = 0

    def mask(self, state: "_State") -> np.ndarray:
        """The mask of the ids that are allowed in a state.

        Raises:
            ConstraintError: The grammar is too complex here.
        """
        try:
            return self._mask(state)
        except _SlowError:
            raise
        except ConstraintError:
            if self._is_renewed:  # so other texts did not fill the cache
                raise
            self._grammar.renew()
            self._is_renewed = True
            return self._mask(state)

    def _mask(self, state: "_State") -> np.ndarray:
        if self._matcher.is_error():
            self._matcher, self._state = self._grammar.matcher(), None
        began = time.thread_time()
        if state.before is not None and self._state and state.before is self._state():
            self._matcher.consume_token(state.byte_id)
        else:
            path = state.path()
            self._matcher.reset()
            self._matcher.consume_tokens(path)
            began = time.thread_time()  # replaying the text is not the grammar's fault
        self._state = weakref.ref(state)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        is_slow = time.thread_time() - began > _SLOW
        self._slow += is_slow
        if is_slow and self._slow > _MAX_SLOW:
            raise _SlowError(
                f"the grammar takes more than {1000 * _SLOW:.0f} ms a byte here; make it less"
                " ambiguous, or ask for fewer bytes"
            )
        if "NoExtensionBias" in self._matcher.get_error():  # a dead end
            return mask_of([])
        require_no_error(self._matcher.get_error())
        mask = np.unpackbits(bits, count=VOCABULARY, bitorder="little").view(bool)
        mask[EOS] &= self._matcher.is_accepting()  # llguidance also allows it if nothing else is
        mask.flags.writeable = False
        return mask


@dataclass(frozen=True, eq=False)
class _State:
    walk: _Walk
    before: "_State | None" = None
    byte_id: int = 0

    @cached_property
    def mask(self) -> np.ndarray:
        return self.walk.mask(self)

    def path(self) -> list[int]:
        """The ids from the start to here."""
        ids, state = [], self
        while state.before is not None:
            ids.append(state.byte_id)
            state = state.before
        return ids[::-1]


def _new_matcher(grammar: str) -> "LLMatcher":
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(**LIMITS, verbose_errors=False)
    return LLMatcher(_tokenizer(), grammar, log_level=0, limits=limits)


@cache
def _tokenizer() -> "LLTokenizer":
    """The vocabulary in llguidance's terms: each byte is a token."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


class _Bytes:
    eos_token_id = EOS
    bos_token_id = None
    tokens = (
        *(b"<pad>", b"</s>", b"<unk>"),
        *(bytes([byte]) for byte in range(256)),
        *(b"<extra_id_%d>" % i for i in range(VOCABULARY - LAST_BYTE - 1)),
    )
    special_token_ids = (*range(OFFSET), *range(LAST_BYTE + 1, VOCABULARY))

    def __call__(self, text: bytes) -> list[int]:
        return [byte + OFFSET for byte in text]


def _characters(text: str) -> str:
    """Returns the text, or refuses one that UTF-8 cannot encode."""
    if has_surrogate(text):
        raise ConstraintError("the grammar holds a lone surrogate, which no text has")
    return text


__all__ = ["Grammar"]
