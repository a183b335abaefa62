"""Fitting long inputs into a limit of bytes, without cutting a character."""

from bisect import bisect_right
from itertools import accumulate


def size(text: str) -> int:
    """The length of a text in bytes of UTF-8."""
    return len(text.encode(errors="surrogatepass"))


def windows(text: str, max_bytes: int, stride: int) -> list[str]:
    """Cuts a text into overlapping pieces that together cover it.

    Args:
        text: The text.
        max_bytes: Length of a piece at most.
        stride: From the beginning of a piece to the beginning of the next, in bytes at most.

    Returns:
        The pieces in order; the text itself where it fits.

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
        pieces.append(text[start:end])
        if end == len(text):
            return pieces
        start = character(offsets[start] + stride)
