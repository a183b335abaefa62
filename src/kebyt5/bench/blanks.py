"""Filling single blanks of whole characters in unseen text, as `kebyt5 fill` does."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedModel

from kebyt5.generation.engine import Engine
from kebyt5.generation.fill import fill
from kebyt5.progress import track

KINDS = {
    "one syllable": re.compile("[가-힣]"),
    "two syllables": re.compile("(?=([가-힣]{2}))"),
    "a word": re.compile(r"(?<=\s)[가-힣]{2,}(?=\s)"),
}
"""Kinds of blanks. A word (어절) here has two syllables or more, with spaces around it."""

BEAMS = 8
TOP = 5
"""Number of likeliest fillings among which the right one counts for `top5`."""

_SEED = 0


class Blank(NamedTuple):
    """A text with `<extra_id_0>` in place of the answer."""

    kind: str
    text: str
    answer: str


@dataclass
class Filled:
    """How often a model filled blanks of one kind correctly.

    Attributes:
        blanks: Number of blanks.
        top1: Number of blanks whose likeliest filling is right.
        top5: Number of blanks for which one of the `TOP` likeliest fillings is right.
    """

    blanks: int = 0
    top1: int = 0
    top5: int = 0


def make_blanks(texts: Iterable[str]) -> list[Blank]:
    """Makes one blank in each text that has a place for it, of each kind in turn."""
    rng = np.random.default_rng(_SEED)
    blanks: list[Blank] = []
    for number, text in enumerate(texts):
        kind = list(KINDS)[number % len(KINDS)]
        places = [match.span(match.lastindex or 0) for match in KINDS[kind].finditer(text)]
        if places and "<extra_id_" not in text:
            begin, end = places[rng.integers(len(places))]
            masked = f"{text[:begin]}<extra_id_0>{text[end:]}"
            blanks.append(Blank(kind, masked, text[begin:end]))
    return blanks


def fill_blanks(
    model: PreTrainedModel, blanks: Sequence[Blank], title: str = ""
) -> dict[str, Filled]:
    """Fills every blank by a model and counts the correct fillings by kind.

    Args:
        model: A model pretrained by span corruption, in evaluation mode.
        blanks: Blanks from `make_blanks`.
        title: Title of the progress bar.
    """
    found, engine = {kind: Filled() for kind in KINDS}, Engine(model)
    for blank in track(blanks, title):
        fillings = fill(engine, blank.text, num_beams=BEAMS, results=TOP)
        spans = [filling.spans[0] for filling in fillings]
        counts = found[blank.kind]
        counts.blanks += 1
        counts.top1 += spans[:1] == [blank.answer]
        counts.top5 += blank.answer in spans
    return found
