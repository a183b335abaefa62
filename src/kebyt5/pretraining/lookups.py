"""Examples that ask for the words in which sentinels are.

The text stays whole; sentinels are inserted into some of its words, and the target repeats those
words:

    source   한국의 수도는 서울이다.
    input    한국의 수<258>도는 서<257>울이다.</s>
    target   <258>수도는<257>서울이다.</s>

To fill a blank, a model has to find its sentinel in the input and look at what is to the left and
right of it. Small models hardly learn that from masked spans, where it helps only with the first
bytes of a span; the others are predicted well without it. Here nothing else helps.
"""

import numpy as np

from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
from kebyt5.pretraining.spans import MAX_SPANS, encode_bytes

NUMBERS = MAX_SPANS + 1
"""Random numbers per example."""

_REACH = 15
"""Most bytes of a word on either side of the sentinel: five syllables."""


def lookup_example(text: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Makes the input and target ids of a text, each with `</s>`.

    Args:
        text: Bytes, uint8 (n,), that begin and end between characters.
        numbers: Uniform in [0, 1), (`NUMBERS`,); they determine how many sentinels and where.

    Returns:
        The ids; None if the text has no word of two characters.
    """
    is_lead = (text & 0xC0) != 0x80
    is_space = (text == ord(" ")) | (text == ord("\n"))
    inside = np.flatnonzero(is_lead[1:] & ~is_space[1:] & ~is_space[:-1]) + 1
    if len(inside) == 0:
        return None
    count = 1 + int(numbers[0] * min(MAX_SPANS, len(inside)))
    places = inside[np.unique((numbers[1 : count + 1] * len(inside)).astype(np.int64))]
    sentinels = [ByteTokenizer.pretraining_sentinel_id(i) for i in range(len(places))]
    ids = encode_bytes(text)
    target: list[np.ndarray] = []
    for sentinel, place in zip(sentinels, places.tolist(), strict=True):
        begin, end = (_edge(is_lead, is_space, place, step) for step in (-1, 1))
        target += [np.array([sentinel]), ids[begin:end]]
    return np.insert(ids, places, sentinels), np.concatenate([*target, ids[-1:]])


def _edge(is_lead: np.ndarray, is_space: np.ndarray, place: int, step: int) -> int:
    """Where the word around a place begins (step -1) or ends (step 1), within `_REACH`."""
    last = min(max(place + step * _REACH, 0), len(is_lead))
    if step < 0:
        spaces = np.flatnonzero(is_space[last:place])
        edge = last + int(spaces[-1]) + 1 if len(spaces) else last
    else:
        spaces = np.flatnonzero(is_space[place:last])
        edge = place + int(spaces[0]) if len(spaces) else last
    # Move towards the place until no character is cut.
    while 0 < edge < len(is_lead) and not is_lead[edge]:
        edge -= step
    return edge


__all__ = ["NUMBERS", "lookup_example"]
