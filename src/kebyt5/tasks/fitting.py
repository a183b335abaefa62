"""Fitting long inputs into a limit of bytes, without cutting a character."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace

from kebyt5.models.offsets import byte_length, char_to_byte, truncate
from kebyt5.tasks.task import Example, Task


def truncate_longest(fields: Mapping[str, str], excess: int) -> dict[str, str]:
    """Truncates the longest texts, down to the largest common length that suffices.

    Args:
        fields: Texts by name.
        excess: Number of bytes to remove, at least; if the texts have fewer, all become empty.
    """
    sizes = {name: byte_length(text) for name, text in fields.items()}
    longest = sorted(sizes.values(), reverse=True)
    limit = 0
    for count in range(1, len(longest) + 1):
        # The common length if the `count` longest texts are truncated.
        limit = (sum(longest[:count]) - excess) // count
        if count == len(longest) or limit >= longest[count]:
            break
    limit = max(0, limit)
    return {
        name: truncate(text, limit) if sizes[name] > limit else text
        for name, text in fields.items()
    }


def truncated(task: Task, example: Example, max_bytes: int) -> Example:
    """Truncates the longest input fields of an example, so that part of each remains."""
    excess = byte_length(task.input_text(example)) - max_bytes
    if excess <= 0:
        return example
    return replace(example, inputs=truncate_longest(example.inputs, excess))


def windows(text: str, max_bytes: int, stride: int) -> list[tuple[int, int]]:
    """Divides a text into overlapping pieces that together cover it.

    Args:
        text: The text.
        max_bytes: Largest length of a piece.
        stride: Largest distance in bytes between the beginnings of two neighbouring pieces.

    Returns:
        For each piece in order, the index of its first character and of the one after its last.

    Raises:
        ValueError: The stride is shorter than a character, or longer than a piece, which would
            leave gaps.
    """
    if not 4 <= stride <= max_bytes:
        raise ValueError(f"stride {stride} is not between 4 (a character) and {max_bytes} bytes")
    offsets: list[int] = char_to_byte(text).tolist()

    def character(byte: int) -> int:
        return bisect_right(offsets, byte) - 1

    pieces, start = [], 0
    while True:
        end = character(offsets[start] + max_bytes)
        pieces.append((start, end))
        if end == len(text):
            return pieces
        start = character(offsets[start] + stride)
