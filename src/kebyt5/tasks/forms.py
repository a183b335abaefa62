"""What an answer may look like, as plain data, of which generation makes a constraint."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marked:
    """A text in which spans may be marked as `<span:TAG>`.

    Attributes:
        text: What stands between the marks, as the model is shown it.
        tags: What a span may be called, the likeliest first.
        endings: For each tag, characters with which spans of that name often end, none where it
            is empty. They save time where they are right and change no answer.
    """

    text: str
    tags: tuple[str, ...]
    endings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """One text of each part in turn.

    Attributes:
        parts: For each part the texts that it may be, the likeliest first; only in the last part
            may one begin another.
        guess: For each part the text that it probably is, the first one where this is empty. It
            saves time where it is right and changes no answer.
    """

    parts: tuple[tuple[str, ...], ...]
    guess: tuple[str, ...] = ()


Form = Marked | Parts

__all__ = ["Form", "Marked", "Parts"]
