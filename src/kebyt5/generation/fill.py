"""Filling the blanks of a text, as a model was pretrained to do."""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from kebyt5.errors import InputError
from kebyt5.generation.constraints import UTF8
from kebyt5.generation.constraints.constraint import EOS
from kebyt5.models.tokenization_kebyt5 import ByteTokenizer

MAX_BLANKS = ByteTokenizer.NUM_PRETRAINING_SENTINELS
_BLANK = re.compile(r"<extra_id_(\d+)>")
_UTF8 = UTF8()


@dataclass(frozen=True)
class Filling:
    """One way to fill the blanks.

    Attributes:
        spans: What stands in each blank.
        text: The text with them in place.
        log_likelihood: Of these spans, natural logarithm.
    """

    spans: tuple[str, ...]
    text: str
    log_likelihood: float


class SpanGrammar(LogitsProcessor):
    """Admits `<extra_id_0>` span `<extra_id_1>` span … `</s>`, every span being valid UTF-8.

    Args:
        blanks: How many spans there are.
        max_bytes: Of each span, at least 4; a character that would go beyond is not begun.
    """

    def __init__(self, blanks: int, max_bytes: int) -> None:
        self.blanks = blanks
        self.max_bytes = max_bytes

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Sets the scores of whatever must not follow to minus infinity."""
        forbidden = torch.ones_like(scores, dtype=torch.bool)
        for row, ids in enumerate(input_ids.tolist()):
            forbidden[row, self.allowed(ids[1:])] = False
        return scores.masked_fill(forbidden, -torch.inf)

    def allowed(self, ids: list[int]) -> list[int]:
        """The ids that may follow what was written so far (without the decoder's start)."""
        if not ids:
            return [ByteTokenizer.pretraining_sentinel_id(0)]
        if EOS in ids:
            return [0]
        last_sentinel = ByteTokenizer.pretraining_sentinel_id(self.blanks - 1)
        begin = max(i for i, id_ in enumerate(ids) if id_ >= last_sentinel)
        span = ids[begin + 1 :]
        state = _UTF8.start()
        try:
            for byte_id in span:
                state = _UTF8.advance(state, byte_id)
        except KeyError:  # a beam of probability zero, kept for want of others
            return [0]
        if state != _UTF8.start():
            return np.flatnonzero(_UTF8.allowed(state)).tolist()
        closing = ids[begin] - 1 if ids[begin] > last_sentinel else EOS
        rest = self.max_bytes - len(span)
        begins = [lead for lead, size in _character_sizes().items() if size <= rest]
        return [closing, *begins] if span else begins


@cache
def _character_sizes() -> dict[int, int]:
    """How many bytes a character has, by the id of its first."""
    sizes = {}
    for lead in np.flatnonzero(_UTF8.allowed(_UTF8.start())).tolist():
        if lead != EOS:
            state, sizes[lead] = _UTF8.advance(_UTF8.start(), lead), 1
            while state != _UTF8.start():
                state = _UTF8.advance(state, int(_UTF8.allowed(state).argmax()))
                sizes[lead] += 1
    return sizes


@torch.inference_mode()
def fill(
    model: PreTrainedModel,
    text: str,
    num_beams: int = 8,
    results: int = 5,
    max_bytes: int = 48,
) -> list[Filling]:
    """Fills the blanks of a text by beam search, the likeliest filling first.

    Args:
        model: Pretrained by span corruption.
        text: With the blanks `<extra_id_0>`, `<extra_id_1>`, … in this order, 11 at most.
        num_beams: Width of the search.
        results: How many fillings to return, no more than beams.
        max_bytes: Longest span, in bytes.

    Raises:
        InputError: No blanks, blanks out of order, or more than 11 of them.

    Example:
        >>> fill(kebyt5.load("tiny"), "한국의 수도는 <extra_id_0>이다.")  # doctest: +SKIP
    """
    numbers = [int(number) for number in _BLANK.findall(text)]
    if len(numbers) > MAX_BLANKS:
        raise InputError(
            f"{len(numbers)} blanks: no more than {MAX_BLANKS}, since the ids that would mark the"
            " others are bytes of Korean text; fill the text in parts"
        )
    if not numbers or numbers != list(range(len(numbers))):
        raise InputError(
            f"blanks {numbers}: a text needs <extra_id_0>, <extra_id_1>, … once each in this order"
        )
    if max_bytes < 4 or not 1 <= results <= num_beams:
        raise InputError(
            f"max_bytes {max_bytes}, results {results} of {num_beams} beams: a span needs room for"
            " 4 bytes, and each beam gives one result"
        )
    tokenizer = ByteTokenizer()
    input_ids = torch.from_numpy(tokenizer.encode_array(text, sentinels="pretraining"))[None]
    input_ids = input_ids.to(model.device)
    was_training = model.training
    model.eval()
    output = model.generate(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        logits_processor=LogitsProcessorList([SpanGrammar(len(numbers), max_bytes)]),
        num_beams=num_beams,
        num_return_sequences=results,
        max_new_tokens=len(numbers) * (max_bytes + 1) + 1,
        length_penalty=0.0,  # the score is the log likelihood itself
        do_sample=False,
        early_stopping=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    model.train(was_training)
    pieces = _BLANK.split(text)[::2]
    fillings = []
    scores = output.sequences_scores.tolist()
    for ids, score in zip(output.sequences.tolist(), scores, strict=True):
        written = tokenizer.decode(ids, skip_special_tokens=True, sentinels="pretraining")
        spans = tuple(_BLANK.split(written)[2::2])
        if len(spans) == len(numbers):
            whole = "".join(a + b for a, b in zip(pieces, (*spans, ""), strict=True))
            fillings.append(Filling(spans, whole, score))
    return sorted(fillings, key=lambda filling: -filling.log_likelihood)


__all__ = ["MAX_BLANKS", "Filling", "SpanGrammar", "fill"]
