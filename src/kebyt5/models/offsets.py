"""Characters (code points) of a text and its UTF-8 bytes, which lone surrogates do not have."""

from __future__ import annotations

import re

import numpy as np

_SURROGATE = re.compile("[\ud800-\udfff]")


def byte_length(text: str) -> int:
    """The number of UTF-8 bytes of the text; a lone surrogate counts as the U+FFFD in its place."""
    return len(text.encode(errors="surrogatepass"))


def has_surrogate(text: str) -> bool:
    """Whether the text holds a lone surrogate, which is not a character."""
    return _SURROGATE.search(text) is not None


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD in place of every lone surrogate."""
    return _SURROGATE.sub("\ufffd", text)


def char_to_byte(text: str) -> np.ndarray:
    """The offset of each character in the UTF-8 bytes of the text.

    Returns:
        int64, (characters + 1,): the offset of every character, then the number of bytes.
    """
    begins = _begins_character(text)
    return np.append(np.flatnonzero(begins), len(begins))


def byte_to_char(text: str) -> np.ndarray:
    """The character to which each of the UTF-8 bytes of the text belongs.

    Returns:
        int64, (bytes + 1,): the index of the character of every byte, then the number of
        characters; bytes [a, b) that cut no character are characters [map[a], map[b]).
    """
    return np.append(np.cumsum(_begins_character(text)) - 1, len(text))


def truncate(text: str, max_bytes: int) -> str:
    """The longest prefix of at most `max_bytes` UTF-8 bytes; no character (code point) is cut.

    Raises:
        ValueError: `max_bytes` is negative.
    """
    if max_bytes < 0:
        raise ValueError(f"max_bytes must not be negative, but is {max_bytes}")
    offsets = char_to_byte(text[:max_bytes])
    return text[: int(np.searchsorted(offsets, max_bytes, side="right")) - 1]


def _begins_character(text: str) -> np.ndarray:
    # A surrogate passes as three bytes, as many as the U+FFFD that replaces it in encoding.
    raw = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    return (raw & 0xC0) != 0x80
