"""Reading the comments that KcBERT was trained on: a text file of 12 GB, one comment per line.

It comes as a zip file from Kaggle, or as `kcbert-train.tar.gz` in parts to be joined with `cat`
(github.com/Beomi/KcBERT); both can be read without unpacking.
"""

from dataclasses import dataclass
from typing import Literal

from kebyt5.corpus.readers.text import TextReader


@dataclass(kw_only=True)
class KcBERTReader(TextReader):
    """Reads comments, one per line."""

    documents: Literal["paragraph", "line", "file"] = "line"
    """What a document is: a paragraph, a line, or the whole file."""
