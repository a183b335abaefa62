"""Guessing a parse from the last morpheme of each word: a draft to be verified, not an answer.

Korean words depend on later words, and their last morpheme tells the kind of dependency.
"""

from collections.abc import Iterator, Sequence

from kebyt5.tasks.metrics.dp import Arc

_PUNCTUATION = frozenset(("SF", "SP", "SS", "SE", "SO", "SW"))
# Labels by tag of the Sejong corpus; a word that ends in any other tag is taken for a bare noun.
_LABELS = {
    "JKS": "NP_SBJ",
    "JX": "NP_SBJ",
    "JKO": "NP_OBJ",
    "JKB": "NP_AJT",
    "JKG": "NP_MOD",
    "JKC": "NP_CMP",
    "JC": "NP_CNJ",
    "ETM": "VP_MOD",
    "ETN": "VP",
    "EC": "VP",
    "EF": "VP",
    "JKQ": "VP_CMP",
    "MAG": "AP",
    "MAJ": "AP",
    "MM": "DP",
    "MMA": "DP",
    "MMD": "DP",
    "MMN": "DP",
    "IC": "IP",
}


def guess_arcs(tags: Sequence[str]) -> list[Arc]:
    """Guesses the arc of each word.

    A word that modifies nouns depends on the next noun, any other word on the next verb, and the
    last word on the root.

    Args:
        tags: The tags of each word's morphemes, joined by +.
    """
    labels = [_label(of_word.split("+")) for of_word in tags]
    return list(_arcs(labels))


def _label(tags: list[str]) -> str:
    while len(tags) > 1 and tags[-1] in _PUNCTUATION:
        tags.pop()
    label = _LABELS.get(tags[-1], "NP")
    return f"VN{label[1:]}" if label.startswith("V") and "VCP" in tags else label


def _arcs(labels: Sequence[str]) -> Iterator[Arc]:
    for number, label in enumerate(labels, 1):
        of_noun = label in ("NP", "NP_CNJ", "DP") or label.endswith("_MOD")
        kinds = ("NP", "VNP") if of_noun else ("VP", "VNP")
        later = range(number, len(labels))
        nearest = next((i + 1 for i in later if labels[i].split("_")[0] in kinds), number + 1)
        yield Arc(nearest if later else 0, label)
