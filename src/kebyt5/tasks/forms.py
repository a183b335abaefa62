"""The form of a task's answers as plain data, from which generation builds a constraint."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marked:
    """A copy of a text in which spans may be marked as `<span:TAG>`.

    Attributes:
        text: The text without marks, as the model is shown it.
        tags: Tags of spans, the likeliest first.
        endings: For each tag, the characters with which its spans often end; may be empty. They
            are hints that save time and do not change the answer.
    """

    text: str
    tags: tuple[str, ...]
    endings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """A sequence of parts, each of which is one of several texts.

    Attributes:
        parts: For each part its possible texts, the likeliest first. Except in the last part, no
            text may be a prefix of another.
        guess: For each part the most probable text; if empty, the first text of each part. It is
            a hint that saves time and does not change the answer.
    """

    parts: tuple[tuple[str, ...], ...]
    guess: tuple[str, ...] = ()


Form = Marked | Parts
