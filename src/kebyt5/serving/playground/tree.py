"""Drawing dependency trees as SVG, with arcs over the words."""

import unicodedata
from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import NamedTuple

from kebyt5.tasks.metrics.dp import MISSING, Arc

_SIZE, _LABEL_SIZE = 17, 11  # of letters, in pixels
_GAP, _LEVEL, _ROUND, _PORT = 26, 30, 10, 7
_MARGIN = 16
_TOP = _MARGIN + _LABEL_SIZE + 6


def draw_tree(words: Sequence[str], arcs: Sequence[Arc]) -> str:
    """Draws a labelled arc from the head of each word to the word; the root hangs from the top.

    An arc is left out, and its word marked, if the head is the word itself, is not a word of the
    sentence, or could not be read.

    Args:
        words: The words of a sentence.
        arcs: Head and label of each word; heads count from 1, and 0 is the root.
    """
    widths = [max(_width(word, _SIZE), _width(arc.label, _LABEL_SIZE) + 8)
              for word, arc in zip(words, arcs, strict=True)]  # fmt: skip
    ends = list(accumulate(width + _GAP for width in widths))
    centres = [_MARGIN + end - _GAP - width / 2 for end, width in zip(ends, widths, strict=True)]
    drawn = [
        (word, arc)
        for word, arc in enumerate(arcs, 1)
        if arc != MISSING and 0 <= arc.head <= len(words) and arc.head != word
    ]
    levels = arc_levels([(word, arc.head) for word, arc in drawn])
    floor = _TOP + _LEVEL * max(levels.values(), default=0) + 14
    lines, labels = [], []  # labels lie on top of all lines
    for word, arc in drawn:
        points = _path(centres, word, arc.head, floor, levels[word, arc.head])
        kind = "arc" if arc.head else "root"
        lines.append(
            f'<g class="{kind}" data-word="{word}" data-head="{arc.head}"><path d="{points.path}"/>'
            f'<path class="tip" d="M{points.tip - 4:.1f} {floor - 8}h8l-4 7z"/></g>'
        )
        half = _width(arc.label, _LABEL_SIZE) / 2 + 4
        labels.append(
            f'<rect x="{points.x - half:.1f}" y="{points.y - 8:.1f}" width="{2 * half:.1f}"'
            f' height="16" rx="8"/><text class="label" x="{points.x:.1f}" y="{points.y + 4:.1f}">'
            f"{escape(arc.label)}</text>"
        )
    with_head = {word for word, _ in drawn}
    texts = [
        f'<text class="word{"" if number in with_head else " lost"}" x="{x:.1f}"'
        f' y="{floor + _SIZE + 8}">{escape(word)}</text>'
        for number, (word, x) in enumerate(zip(words, centres, strict=True), 1)
    ]
    said = ", ".join(
        f"{words[word - 1]} → {words[arc.head - 1] if arc.head else 'ROOT'} ({arc.label})"
        for word, arc in drawn
    )
    width, height = ends[-1] - _GAP + 2 * _MARGIN if ends else 0, floor + _SIZE + 8 + _MARGIN
    return (
        f'<div class="scroll"><svg class="tree" lang="ko" role="img" aria-label="{escape(said)}"'
        f' width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f"{''.join([*lines, *labels, *texts])}</svg></div>"
    )


class _Points(NamedTuple):
    path: str
    tip: float  # x coordinate of the arrow's tip
    x: float  # centre of the label
    y: float


def _path(centres: Sequence[float], word: int, head: int, floor: float, level: int) -> _Points:
    """Draws the path from a head up, along a level and down to a word; the root's from the top."""
    x = centres[word - 1]
    if head == 0:
        return _Points(f"M{x:.1f} {_TOP - 6}V{floor - 6:.1f}", x, x, _TOP - 6)
    side = 1 if word > head else -1
    start, y = centres[head - 1] + side * _PORT, floor - 6 - _LEVEL * level
    x -= side * _PORT * 0.4  # beside the arcs that leave this word
    path = (
        f"M{start:.1f} {floor}V{y + _ROUND:.1f}"
        f"Q{start:.1f} {y:.1f} {start + side * _ROUND:.1f} {y:.1f}"
        f"H{x - side * _ROUND:.1f}Q{x:.1f} {y:.1f} {x:.1f} {y + _ROUND:.1f}V{floor - 6:.1f}"
    )
    return _Points(path, x, (start + x) / 2, y)


def arc_levels(arcs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Assigns each arc a level, so that it passes above the shorter arcs below it.

    Args:
        arcs: Pairs of word and head; those with head 0 go above all others.

    Returns:
        Levels from 1. Of two arcs over a common gap between words, the shorter one is lower.
    """
    levels: dict[tuple[int, int], int] = {}
    for arc in sorted((arc for arc in arcs if arc[1]), key=lambda arc: (abs(arc[0] - arc[1]), arc)):
        low, high = sorted(arc)
        below = [
            level for other, level in levels.items() if max(low, min(other)) < min(high, max(other))
        ]
        levels[arc] = 1 + max(below, default=0)
    highest = max(levels.values(), default=0)
    return levels | {arc: highest + 1 for arc in arcs if not arc[1]}


def _width(text: str, size: int) -> float:
    """Estimates the width of a text in pixels: Hangul is square, Latin letters about half that."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return size * (wide * 0.96 + (len(text) - wide) * 0.62)
