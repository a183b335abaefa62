"""Statistics of a corpus: lengths of documents and scripts of characters."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

import numpy as np

from kebyt5.corpus.shards import SEPARATOR, Shard

SCRIPTS = ("Hangul", "Latin", "digits", "Han", "other", "blanks")
"""The scripts that are counted, in characters; `other` is everything else."""

LENGTH_CLASSES = 32
"""Number of length classes: from 1 byte, from 2, from 4, … from 2^31."""

_HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FF))
_LATIN = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))
_DIGITS = ((0x30, 0x39),)
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_BLANKS = ((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x2000, 0x200A), (0x3000, 0x3000))
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Statistics:
    """Counts of a shard, a source or a split; `+` adds them.

    Attributes:
        documents: Number of documents.
        bytes: Number of bytes in the documents, without separators.
        lengths: Number of documents by length class, int64 (LENGTH_CLASSES,).
        scripts: Number of characters by script, int64 (len(SCRIPTS),).
    """

    documents: int = 0
    bytes: int = 0
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(LENGTH_CLASSES, np.int64))
    scripts: np.ndarray = field(default_factory=lambda: np.zeros(len(SCRIPTS), np.int64))

    @classmethod
    def of(cls, shard: Shard) -> Self:
        """Counts a shard."""
        lengths = np.diff(shard.offsets.astype(np.int64)) - len(SEPARATOR)
        classes = np.minimum(np.log2(np.maximum(lengths, 1)).astype(np.int64), LENGTH_CLASSES - 1)
        scripts = count_scripts(shard.data)
        scripts[SCRIPTS.index("blanks")] -= shard.documents * len(SEPARATOR)
        return cls(
            shard.documents,
            int(lengths.sum()),
            np.bincount(classes, minlength=LENGTH_CLASSES),
            scripts,
        )

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.documents + other.documents,
            self.bytes + other.bytes,
            self.lengths + other.lengths,
            self.scripts + other.scripts,
        )

    @property
    def script_shares(self) -> dict[str, float]:
        """The share of each script in the characters that are not blanks."""
        written = {name: int(n) for name, n in zip(SCRIPTS, self.scripts, strict=True)}
        del written["blanks"]
        total = max(sum(written.values()), 1)
        return {name: count / total for name, count in written.items()}

    def to_json(self) -> dict[str, Any]:
        """Converts the counts to JSON."""
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "lengths": self.lengths.tolist(),
            "scripts": dict(zip(SCRIPTS, self.scripts.tolist(), strict=True)),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Reads the counts from what `to_json` returned."""
        scripts = [content["scripts"][name] for name in SCRIPTS]
        return cls(
            content["documents"],
            content["bytes"],
            np.array(content["lengths"], np.int64),
            np.array(scripts, np.int64),
        )


def count_scripts(data: np.ndarray) -> np.ndarray:
    """Counts characters by script, int64 (len(SCRIPTS),).

    Args:
        data: UTF-8 text, uint8 (bytes,).
    """
    counts = np.zeros(len(SCRIPTS), np.int64)
    begin = 0
    while begin < len(data):
        end = min(begin + _CHUNK, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        counts += scripts_of(data[begin:end].tobytes().decode())
        begin = end
    return counts


def scripts_of(text: str) -> np.ndarray:
    """Counts the characters of a text by script, int64 (len(SCRIPTS),)."""
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return np.bincount(_script_of()[codes], minlength=len(SCRIPTS))


def hangul_share(text: str) -> float:
    """Computes the share of Hangul, syllables and jamo, in the characters that are not blanks."""
    counts = scripts_of(text)
    written = counts.sum() - counts[SCRIPTS.index("blanks")]
    return float(counts[SCRIPTS.index("Hangul")] / max(written, 1))


@cache
def _script_of() -> np.ndarray:
    """Makes a table of the script of every code point, uint8 (0x110000,)."""
    table = np.full(0x110000, SCRIPTS.index("other"), np.uint8)
    for name, ranges in (
        ("Hangul", _HANGUL),
        ("Latin", _LATIN),
        ("digits", _DIGITS),
        ("Han", _HAN),
        ("blanks", _BLANKS),
    ):
        for first, last in ranges:
            table[first : last + 1] = SCRIPTS.index(name)
    return table
