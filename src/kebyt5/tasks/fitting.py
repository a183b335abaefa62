"""Fitting long inputs into a limit of bytes, without cutting a character."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

from kebyt5.tasks.task import Example, Task


def size(text: str) -> int:
    """The length of a text in bytes of UTF-8."""
    return len(text.encode(errors="surrogatepass"))


def cut(text: str, max_bytes: int) -> str:
    """The longest beginning of a text that has at most so many bytes."""
    return text.encode(errors="surrogatepass")[: max(0, max_bytes)].decode(errors="ignore")


def shorten_longest(fields: Mapping[str, str], excess: int) -> dict[str, str]:
    """Takes bytes off the ends of the longest texts until they are of one length, then off all.

    Args:
        fields: Texts by name.
        excess: How many bytes to take away, at least; all where there are not as many.
    """
    sizes = {name: size(text) for name, text in fields.items()}
    longest = sorted(sizes.values(), reverse=True)
    limit = 0
    for count in range(1, len(longest) + 1):
        # With the first `count` cut to one length, what is that length?
        limit = (sum(longest[:count]) - excess) // count
        if count == len(longest) or limit >= longest[count]:
            break
    return {
        name: cut(text, limit) if sizes[name] > limit else text for name, text in fields.items()
    }


def shortened(task: Task, example: Example, max_bytes: int) -> Example:
    """An example whose longest input fields are cut, so that something of each stays."""
    excess = size(task.input_text(example)) - max_bytes
    if excess <= 0:
        return example
    return replace(example, inputs=shorten_longest(example.inputs, excess))


def windows(text: str, max_bytes: int, stride: int) -> list[tuple[int, int]]:
    """Divides a text into overlapping pieces that together cover it.

    Args:
        text: The text.
        max_bytes: Length of a piece at most.
        stride: From the beginning of a piece to the beginning of the next, in bytes at most.

    Returns:
        In order the first character of each piece and the one behind its last.

    Raises:
        ValueError: A character may not fit, or a stride longer than a piece would leave gaps.
    """
    if not 4 <= stride <= max_bytes:
        raise ValueError(f"stride {stride} is not between 4 (a character) and {max_bytes} bytes")
    # offsets[i] is where character i begins.
    offsets = list(accumulate(map(size, text), initial=0))

    def character(byte: int) -> int:
        return bisect_right(offsets, byte) - 1

    pieces, start = [], 0
    while True:
        end = character(offsets[start] + max_bytes)
        pieces.append((start, end))
        if end == len(text):
            return pieces
        start = character(offsets[start] + stride)
