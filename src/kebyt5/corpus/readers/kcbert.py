"""The comments that KcBERT was trained on: a text file of 12 GB, one comment a line.

It comes as a zip file from Kaggle, or as `kcbert-train.tar.gz` in parts to be joined with `cat`
(github.com/Beomi/KcBERT); all of these can be read as they are.
"""

from dataclasses import dataclass
from typing import Literal

from kebyt5.corpus.readers.text import TextReader


@dataclass(kw_only=True)
class KcBERTReader(TextReader):
    """Comments, one a line."""

    documents: Literal["paragraph", "line", "file"] = "line"
    """What a document is."""


__all__ = ["KcBERTReader"]
