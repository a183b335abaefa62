"""The generation engine: many requests at once, each with the output it would have alone.

An encoder runs once per input, a decoder once per byte, and a byte model's decoder is bound by
reading its weights. So the engine reads them once for all requests (continuous batching) and lets
each request decide several bytes per pass: guesses at what is copied from the input, and bytes that
its constraint forces, are verified in the pass that decides the next byte. Greedy output equals
that of `model.generate`: where a byte's lead is so small that rounding in a pass of another shape
may reverse it, the engine runs the passes of plain generation.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import accumulate, chain, pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kebyt5.generation.beams import Hypothesis, beam_search
from kebyt5.generation.cache import SlotCache
from kebyt5.generation.constraints.constraint import Constraint
from kebyt5.generation.decoder import PackedDecoder, require_supported
from kebyt5.generation.drafts import Habits, Price
from kebyt5.generation.encoding import batch_of_like_length, encode
from kebyt5.generation.plain import plain_logits
from kebyt5.generation.request import (
    Generated,
    GenerationError,
    GenerationOptions,
    GenerationStatistics,
    Request,
    encode_input,
)
from kebyt5.generation.sampling import Scores
from kebyt5.generation.slot import Slot
from kebyt5.models.tokenization_kebyt5 import EOS
from kebyt5.progress import progress_bars

_CHECK_SHARE = 0.05
"""Share of the time spent checking whether waiting requests were cancelled; in `generate` a whole
test set may be waiting."""


class Engine:
    r"""Generates texts with one model.

    The engine has no thread of its own. `generate` drives it until its inputs are done; submitted
    requests are processed by `run` in a thread of yours, or by calls of `step`. Weights are cached
    in the layout that products need, so make a new engine after changing them.

    Args:
        model: A KEByT5, GBST-KEByT5 or ByT5 model in evaluation mode, on any device.
        max_slots: Requests that are decoded at the same time.

    Attributes:
        statistics: Statistics of all finished requests together.

    Example:
        >>> engine = Engine(kebyt5.load("runs/ner"))  # fine-tuned to mark names
        >>> engine.generate(["task: NER\n\n### 입력\n서울에 산다.\n"])[0].text
        '<서울:LC>에 산다.'
    """

    def __init__(self, model: PreTrainedModel, max_slots: int = 32) -> None:
        if max_slots < 1:
            raise ValueError(f"max_slots is {max_slots}; it has to be at least 1")
        require_supported(model)
        self.statistics = GenerationStatistics()
        self._model = model
        self._max_slots = max_slots
        # The only state that threads share without holding `_stepping`.
        self._inbox: deque[Request] = deque()
        self._waiting: list[Request] = []
        self._encoded: dict[Request, SlotCache] = {}
        self._active: list[Slot] = []
        self._check_due = 0.0
        self._habits = Habits()
        self._stepping = threading.Lock()
        self._changed = threading.Condition()
        self._is_stopped = False
        # With int8 weights or in half precision rounding moves logits a thousand times as far, and
        # too many outputs would have to be read again.
        is_exact = model.dtype == torch.float32 and not getattr(model.config, "int8", False)
        self._plain = partial(plain_logits, model) if is_exact else None

    def submit(self, input: str | np.ndarray, options: GenerationOptions | None = None) -> Request:
        """Queues a request; may be called from any thread, at any time.

        Args:
            input: A text, or ids (n,) that end with the end of sequence.
            options: How to generate.

        Raises:
            ValueError: The ids are not ids of the model.
        """
        request = self._request(input, options or GenerationOptions())
        self._queue([request])
        if self._is_stopped:  # looked at after queueing, so that `run` or this line sees it
            request.cancel()
            self._end_cancelled()
        return request

    def generate(
        self,
        inputs: Sequence[str | np.ndarray],
        options: GenerationOptions | Sequence[GenerationOptions] | None = None,
        progress: str = "",
    ) -> list[Generated]:
        """Generates a text for each input and returns them in that order.

        Args:
            inputs: Texts or ids.
            options: For all inputs, or one for each.
            progress: Title of a progress bar; none is shown if it is empty.

        Raises:
            ValueError: There are not as many options as inputs, or an input has ids that the model
                does not have. Nothing is generated then.
            GenerationError: Some requests failed, for example because a constraint left nothing to
                generate. It holds the texts of the others, which are finished first.
        """
        if isinstance(inputs, str):
            raise ValueError("inputs is one text; give a list of texts")
        if options is None or isinstance(options, GenerationOptions):
            options = [options or GenerationOptions()] * len(inputs)
        if len(options) != len(inputs):
            raise ValueError(f"{len(inputs)} inputs, but {len(options)} options")
        requests = [self._request(*pair) for pair in zip(inputs, options, strict=True)]
        self._queue(requests)
        try:
            with progress_bars(bool(progress)) as bar:
                task = bar.add_task(progress, total=len(requests))
                for request in requests:  # in order, so that finished ones are not checked again
                    while not request.done:
                        self.step()
                    bar.advance(task)
        except BaseException:  # such as Ctrl-C: nobody waits for the others any more
            for request in requests:
                request.cancel()
            raise
        outcomes = [request.outcome() for request in requests]
        generated = [each for each in outcomes if isinstance(each, Generated)]
        if len(generated) < len(outcomes):
            raise GenerationError(outcomes)
        return generated

    @torch.inference_mode()
    def search(
        self,
        input_ids: np.ndarray,
        constraint: Constraint,
        num_beams: int,
        max_new_ids: int,
        closing_ids: Sequence[int] = (EOS,),
        before_pass: Callable[[], object] | None = None,
    ) -> list[Hypothesis]:
        """Finds the likeliest outputs for one input by beam search, in the caller's thread.

        Args:
            input_ids: Ids of the input, (n,), ending with the end of sequence.
            constraint: What may be generated.
            num_beams: Width of the search.
            max_new_ids: Maximum number of ids of a part, including the id that closes it.
            closing_ids: Id that closes each part; see `beam_search`.
            before_pass: Called before each pass; it may `step`, or raise to end the search.

        Returns:
            At most `num_beams` outputs, the likeliest first.

        Raises:
            ValueError: The ids are not ids of the model.
        """
        ids = self._checked(input_ids)
        with self._stepping:
            (cache,) = self._decoder.cross_caches(encode(self._model, [ids]))

        def run_pass(new: list[list[int]], caches: list[SlotCache]) -> Tensor:
            if before_pass:
                before_pass()
            with self._stepping:
                return self._decoder.logits(self._decoder.step(new, caches))

        start_id = self._model.config.decoder_start_token_id
        return beam_search(
            run_pass, cache, start_id, constraint, num_beams, max_new_ids, closing_ids
        )

    def run(self, stop: threading.Event) -> None:
        """Processes submitted requests until `stop` is set, then cancels the remaining ones.

        Requests that are submitted later are cancelled as well, until `run` is called again.
        """
        self._is_stopped = False
        while not stop.is_set():
            if not self.step():
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._inbox), timeout=0.1)
        self._is_stopped = True
        with self._stepping:
            self._take_in()
            for request in [*self._waiting, *(slot.request for slot in self._active)]:
                request.cancel()
        self._end_cancelled()

    @torch.inference_mode()
    def step(self) -> bool:
        """Admits waiting requests and runs one pass over all; several threads may call it.

        Returns:
            Whether there is more to do.
        """
        with self._stepping:
            self._take_in()
            self._drop_active()
            if time.monotonic() >= self._check_due:
                self._drop_waiting()
            self._admit()
            try:
                self._decode()
            except Exception as error:  # a failing pass ends all requests in it
                for slot in self._active:
                    slot.request.end(error)
                self._active = []
            self._reread()
            self._retire()
            return bool(self._active or self._waiting or self._inbox)

    def _request(self, input: str | np.ndarray, options: GenerationOptions) -> Request:
        ids = encode_input(input, options.sentinels) if isinstance(input, str) else input
        return Request(self._checked(ids), options)

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        ids, size = np.asarray(ids), self._model.config.vocab_size
        if ids.ndim != 1:
            raise ValueError(f"ids of shape {ids.shape}; give those of one input, (n,)")
        if len(ids) == 0:
            raise ValueError("an input without ids; give at least the end of sequence")
        if ids.dtype.kind not in "iu":
            raise ValueError(f"ids of type {ids.dtype}; they have to be integers")
        strange = ids[(ids < 0) | (ids >= size)]
        if len(strange):
            raise ValueError(f"id {strange[0]} is unknown; the model has ids from 0 to {size - 1}")
        return ids.astype(np.int64)

    def _end_cancelled(self) -> None:
        """Ends all requests that were cancelled, without a pass."""
        with self._stepping:
            self._take_in()
            self._drop_active()
            self._drop_waiting()

    def _queue(self, requests: Sequence[Request]) -> None:
        with self._changed:
            self._inbox.extend(requests)
            self._changed.notify_all()

    def _take_in(self) -> None:
        while self._inbox:
            self._waiting.append(self._inbox.popleft())

    def _drop_active(self) -> None:
        """Ends active requests that were cancelled or are past their deadline."""
        for slot in self._active:
            slot.finish = slot.request.interruption()
        self._retire()

    def _drop_waiting(self) -> None:
        """Ends waiting requests that were cancelled or are past their deadline."""
        began = time.monotonic()
        self._waiting = [request for request in self._waiting if not _is_dropped(request)]
        for request in [request for request in self._encoded if request.done]:
            del self._encoded[request]
        now = time.monotonic()
        self._check_due = now + (now - began) / _CHECK_SHARE

    def _admit(self) -> None:
        """Moves waiting requests into free slots, first come, first served.

        Only one batch of texts is encoded, so that active requests do not wait for several.
        """
        has_encoded = False
        while self._waiting and len(self._active) < self._max_slots:
            request = self._waiting[0]
            try:
                if not _is_dropped(request):
                    if request not in self._encoded:
                        if has_encoded and self._active:
                            break
                        has_encoded = True
                        self._encode_ahead()
                    cache = self._encoded.pop(request)
                    slot = Slot(request, cache, self._model.config, self._habits, self._plain)
                    self._active.append(slot)
            except Exception as error:
                request.end(error)
            del self._waiting[0]

    def _encode_ahead(self) -> None:
        """Encodes the next request, together with requests of similar length that are due soon."""
        # Only soon: encoder states take memory until they are decoded.
        soon = self._waiting[: 2 * self._max_slots]
        waiting = [request for request in soon if request not in self._encoded]
        chosen = batch_of_like_length([len(request.input_ids) for request in waiting])
        batch = [waiting[i] for i in chosen]
        try:
            self._encode(batch)
        except Exception:
            if len(batch) == 1:
                raise
            self._encode(waiting[:1])  # so that only a request that is at fault fails

    def _encode(self, batch: Sequence[Request]) -> None:
        states = encode(self._model, [request.input_ids for request in batch])
        self._encoded.update(zip(batch, self._decoder.cross_caches(states), strict=True))

    @cached_property
    def _decoder(self) -> PackedDecoder:
        return PackedDecoder(self._model)

    def _decode(self) -> None:
        """Runs one pass over what each request plans, and hands each its logits."""
        slots = [slot for slot in self._active if not slot.finish and not slot.in_doubt]
        price = Price.beside(len(slots))
        plans: dict[Slot, list[int]] = {}
        for slot in slots:
            with self._failing_alone(slot):
                plans[slot] = slot.plan(price)
        if not plans:
            return
        hidden = self._decoder.step(list(plans.values()), [slot.cache for slot in plans])
        ends = accumulate(map(len, plans.values()))
        wanted = [range(end - slot.choices, end) for slot, end in zip(plans, ends, strict=True)]
        if sum(map(len, wanted)) < len(hidden):
            hidden = hidden[list(chain.from_iterable(wanted))]
        scores = Scores.of(self._decoder.logits(hidden).cpu().numpy())
        bounds = pairwise(accumulate(map(len, wanted), initial=0))
        for slot, (first, end) in zip(plans, bounds, strict=True):
            with self._failing_alone(slot):
                slot.accept(scores.rows(first, end))

    def _reread(self) -> None:
        """Runs a pass of plain generation for each request whose next id is in doubt."""
        for slot in [slot for slot in self._active if slot.in_doubt]:
            with self._failing_alone(slot):
                slot.reread()

    @contextmanager
    def _failing_alone(self, slot: Slot) -> Iterator[None]:
        """Ends only this request if its constraint fails."""
        try:
            yield
        except Exception as error:
            slot.request.end(error)
            self._active = [other for other in self._active if other is not slot]

    def _retire(self) -> None:
        """Delivers finished texts and frees their slots."""
        for slot in self._active:
            if slot.finish:
                self.statistics += slot.statistics
                slot.request.end(slot.end(slot.finish))
        self._active = [slot for slot in self._active if slot.finish is None]


def _is_dropped(request: Request) -> bool:
    """Ends a request that was cancelled or is past its deadline; returns whether it did."""
    if reason := request.interruption():
        request.end(Generated("", [], reason, GenerationStatistics()))
    return reason is not None


__all__ = ["Engine"]
