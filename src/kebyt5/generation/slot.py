"""The state of one request while it is being decoded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from transformers import PreTrainedConfig

from kebyt5.generation.cache import SlotCache
from kebyt5.generation.constraints.constraint import (
    Constraint,
    ConstraintError,
    forced,
    in_vocabulary,
)
from kebyt5.generation.drafts import CopyDraft, Habits, Price
from kebyt5.generation.request import Finish, Generated, GenerationStatistics, Request, TextStream
from kebyt5.generation.sampling import DOUBT, TIE, Scores, best, draw
from kebyt5.models.tokenization_kebyt5 import EOS

_FORCED = 64
"""Most forced ids that are taken before a pass, and most ids in the draft of a constrained request.

The next pass goes on with the others: neither a slow constraint nor a long pass holds up others.
"""


@dataclass
class _Draft:
    """Ids that may come next, to be verified in one pass.

    Attributes:
        ids: The ids, guessed or forced.
        masks: What the constraint allows in place of each id and after the last; None is anything.
        states: State of the constraint after each id.
        guessed: Number of ids at the beginning that are guessed.
        sure: Number of ids that are forced.
    """

    ids: list[int] = field(default_factory=list)
    masks: Sequence[np.ndarray | None] = ()
    states: list[Any] = field(default_factory=list)
    guessed: int = 0
    sure: int = 0


class Slot:
    """Output, constraint state and drafts of one request, between the passes of the decoder.

    Args:
        request: The request to decode.
        cache: Its keys and values.
        config: Configuration of the model, for the start id and the vocabulary size.
        habits: What drafts have learned from other requests.
        plain: Maps input ids and output ids to the logits (V,) of plain generation after each
            output id. They decide where an id's lead is within rounding; with None, rounding may.

    Attributes:
        in_doubt: Whether the next id is open until `reread` settles it; `plan` must not be called
            before.

    Raises:
        ConstraintError: The constraint leaves nothing to generate.
    """

    def __init__(
        self,
        request: Request,
        cache: SlotCache,
        config: PreTrainedConfig,
        habits: Habits,
        plain: Callable[[np.ndarray, Iterable[int]], Iterator[np.ndarray]] | None,
    ) -> None:
        self.request = request
        self.cache = cache
        self.statistics = GenerationStatistics()
        self.finish: Finish | None = None
        options = request.options
        self._options = options
        self._output: list[int] = []
        self._text = TextStream(options.sentinels, options.stop)
        self._constraint = options.constraint
        self._state = self._constraint.start() if self._constraint else None
        self._drafts: CopyDraft | None = None
        if options.drafts:
            self._drafts = CopyDraft(request.input_ids.tolist(), habits)
        self.in_doubt = False
        self._plain: Iterator[np.ndarray] | None = None
        if plain:
            # Lazy: reads the output as it grows, as far as logits are asked for.
            beginning = [config.decoder_start_token_id]
            self._plain = plain(request.input_ids, chain(beginning, self._output))
        self._reread = 0  # ids read by plain generation, the start id included
        self._vocabulary = config.vocab_size
        self._pending = [config.decoder_start_token_id]  # not in the cache yet
        self._draft = _Draft()
        self._said = 0  # ids of the output already handed on
        self._piece = ""  # text not handed on yet
        self._take_forced()
        self._hand_on()

    def plan(self, price: Price) -> list[int]:
        """Returns the ids to feed in the next pass: those not yet in the cache, then a draft."""
        room = self._options.max_new_bytes - len(self._output) - 1
        guess: list[int] = []
        if self._drafts and room > 0:
            likely = self._constraint.likely(self._state) if self._constraint else ()
            guess = self._drafts.propose(list(likely), price)
        if self._constraint is None:
            ids = guess[:room]
            self._draft = _Draft(ids, masks=[None] * (len(ids) + 1), guessed=len(ids))
        else:
            self._draft = self._allowed_draft(self._constraint, guess, room)
        return self._pending + self._draft.ids

    @property
    def choices(self) -> int:
        """Number of planned ids that need logits, counted from the last."""
        return len(self._draft.ids) + 1

    def accept(self, scores: Scores) -> None:
        """Appends the ids of the draft that were right, and one more.

        Args:
            scores: Scores of the last `choices` planned ids.
        """
        self.statistics.passes += 1
        self.statistics.rows += len(self._pending) + len(self._draft.ids)
        self.statistics.proposed += len(self._draft.ids) - self._draft.sure
        self.statistics.proposed_forced += self._draft.sure
        self.cache.length += len(self._pending)
        self._take(scores, DOUBT if self._plain else 0.0)

    def reread(self) -> None:
        """Feeds one more output id through plain generation; the last settles the open choice."""
        assert self._plain is not None
        logits = next(self._plain)
        self._reread += 1
        self.statistics.passes += 1
        self.statistics.rows += 1
        if self._reread > len(self._output):
            self._take(Scores.of(logits[None]))

    def end(self, finish: Finish) -> Generated:
        """Ends the text for the given reason."""
        self.request.emit(self._text.close(cut=finish not in ("eos", "stop")))
        return Generated(self._text.text, self._output, finish, self.statistics)

    def _take(self, scores: Scores, doubt: float = 0.0) -> None:
        """Appends ids by their scores, up to the first that the draft did not guess.

        An id whose lead is below `doubt`, as a share of the largest logit, is left open.
        """
        if np.isnan(scores.largest).any():
            raise ValueError("the model's logits are not numbers; its weights are damaged")
        self.in_doubt = False
        draft, right = self._draft, 0
        for row, mask in enumerate(draft.masks):
            only = None if mask is None else forced(mask)
            if only is None:
                chosen, lead = self._choose(scores, row, mask)
                if lead < doubt * scores.largest[row]:
                    self.in_doubt = True
                    break
                self.statistics.ties += lead < TIE
            else:
                chosen = only
            guessed = row < len(draft.ids) and chosen == draft.ids[row]
            if only is not None:
                self.statistics.forced += 1
                # Not counted yet if there was no place for it in the draft.
                self.statistics.proposed_forced += row == len(draft.ids)
            elif guessed:
                self.statistics.copied += 1
            else:
                self.statistics.decided += 1
            self._append(chosen, draft.states[row : row + 1] if guessed else ())
            if self.finish or not guessed:
                break
            right += 1
        self.cache.length += right
        if self._drafts:
            self._drafts.learn(draft.guessed, min(right, draft.guessed))
        if self.in_doubt:
            # The cache holds all ids; only the open choice is left.
            self._pending, self._draft = [], _Draft(masks=draft.masks[right : right + 1])
        else:
            self._pending = self._output[-1:]
            self._take_forced()
        self._hand_on()

    def _allowed_draft(self, constraint: Constraint, guess: list[int], room: int) -> _Draft:
        """Makes a draft of guessed and forced ids, as far as the constraint allows the guess."""
        draft, state = _Draft(), self._state
        masks = [self._allowed(state)]
        guessed = iter(guess)
        # A dead end ahead is an error only if the model gets there.
        while len(draft.ids) < min(room, _FORCED) and masks[-1].any():
            only = forced(masks[-1])
            following = next(guessed, None)
            if only is None:
                if following is None or not masks[-1][following]:
                    break
                byte_id = following
            else:
                byte_id = only
            if byte_id == EOS:
                break
            state = constraint.advance(state, byte_id)
            try:
                masks.append(self._allowed(state))
            except ConstraintError:
                break
            if byte_id == following:
                draft.guessed += 1
            else:
                guessed = iter(())
            draft.ids.append(byte_id)
            draft.states.append(state)
            draft.sure += only is not None
        draft.masks = masks
        return draft

    def _allowed(self, state: Any) -> np.ndarray:
        """The mask of the constraint, cut to the ids of the model."""
        assert self._constraint is not None
        return self._constraint.allowed(state)[: self._vocabulary]

    def _choose(self, scores: Scores, row: int, mask: np.ndarray | None) -> tuple[int, float]:
        """Chooses an id; returns it and its lead over the next logit.

        The lead may be understated where it is beyond doubt anyway.
        """
        if self._options.temperature == 0:
            chosen, lead = int(scores.best[row]), float(scores.lead[row])
            is_beyond_doubt = lead >= max(TIE, DOUBT * scores.largest[row])
            if mask is None or (is_beyond_doubt and mask[chosen : chosen + 1].any()):
                return chosen, lead
        logits = scores.logits[row]
        if mask is not None:
            logits = np.where(in_vocabulary(mask, len(logits)), logits, -np.inf)
        options = self._options
        if options.temperature == 0:
            return best(logits)
        position = len(self._output)
        return draw(logits, options.temperature, options.top_p, options.seed, position)

    def _append(self, byte_id: int, ahead: Sequence[Any] = ()) -> None:
        """Adds an id to the output; `ahead` holds the state after it if the draft knows it."""
        self._output.append(byte_id)
        self._piece += self._text.feed([byte_id])
        if self._text.stopped:
            self.finish = "stop"
        elif byte_id == EOS:
            self.finish = "eos"
        else:
            if self._constraint:
                # Reuse the state: a grammar would have to parse its way to an equal one.
                (self._state,) = ahead or (self._constraint.advance(self._state, byte_id),)
            if len(self._output) == self._options.max_new_bytes:
                self.finish = "length"
                self._end_if_whole()

    def _end_if_whole(self) -> None:
        """Ends a text at the limit as complete if only the end of sequence could follow."""
        if self._constraint:
            with suppress(ConstraintError):
                if forced(self._allowed(self._state)) == EOS:
                    self._append_forced(EOS)

    def _take_forced(self) -> None:
        """Appends the ids that the constraint forces; the next pass decodes them."""
        for _ in range(_FORCED):
            if self._constraint is None or self.finish:
                break
            only = forced(self._allowed(self._state))
            if only is None:
                break
            self._append_forced(only)

    def _append_forced(self, byte_id: int) -> None:
        self._append(byte_id)
        self._pending.append(byte_id)
        self.statistics.forced += 1
        self.statistics.proposed_forced += 1

    def _hand_on(self) -> None:
        """Passes what is new to the reader and the drafts."""
        if self._drafts:
            self._drafts.extend(self._output[self._said :])
        self._said = self.request.size = len(self._output)
        self.request.emit(self._piece)
        self._piece = ""
