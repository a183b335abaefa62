"""Deduplication by datatrove, exact and by MinHash, with shingles that suit Korean.

datatrove makes shingles of words, for which Korean needs a morphological analyser (kiwipiepy).
Here shingles are runs of characters without blanks and punctuation. They need no model and no
download, and a different particle or blank changes only the runs that contain it.
"""

import re
from typing import cast

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.word_tokenizers import WordTokenizer

from kebyt5.corpus.config import Dedup

_NOT_COMPARED = re.compile(r"[\W_]+")
# Shingles per block; with 112 hashes of 8 bytes each, a block fits in the cache.
_BLOCK = 512


def _text(document: Document) -> str:
    return document.text


def _priority(document: Document) -> int:
    return cast(int, document.metadata["priority"])


def exact_config() -> ExactDedupConfig:
    """Makes settings that drop equal texts; the source listed first keeps it."""
    return ExactDedupConfig(content_getter=_text, document_priority=_priority)


def minhash_config(options: Dedup) -> MinhashConfig:
    """Makes datatrove's settings from our options."""
    return MinhashConfig(
        n_grams=options.ngram, num_buckets=options.buckets, hashes_per_bucket=options.hashes
    )


class _NoWords(WordTokenizer):
    """A placeholder for datatrove's tokenizer, which is never called."""

    def word_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    sent_tokenize = span_tokenize = word_tokenize


class CharacterSignature(MinhashDedupSignature):
    """MinHash signatures of runs of characters.

    Two methods differ from datatrove's. Shingles are hashed all at once instead of one by one. The
    permutations are multiply-add modulo 2^64 (Dietzfelbinger et al. 1997) instead of modulo a
    prime, which takes a third of the time and suffices because the shingles are already hashed.
    They are computed in blocks, so that memory does not grow with the document.
    """

    def __init__(self, output_folder: str, config: MinhashConfig) -> None:
        super().__init__(output_folder, config, language=_NoWords())

    def get_shingles(self, text: str) -> np.ndarray:
        """Hashes all runs of `n_grams` characters, uint64 (runs, 1)."""
        compared = _NOT_COMPARED.sub("", text.lower())
        characters = np.frombuffer(compared.encode("utf-32-le"), "<u4").astype(np.uint64)
        runs = len(characters) - self.config.n_grams + 1
        if runs < 1:
            return np.empty((0, 1), np.uint64)
        # A polynomial in an odd number modulo 2^64, then the finalizer of SplitMix64 (Steele 2014).
        hashes = np.zeros(runs, np.uint64)
        for place in range(self.config.n_grams):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + characters[place : place + runs]
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (hashes ^ (hashes >> np.uint64(31))).reshape(-1, 1)

    def get_signature(self, shingles: np.ndarray) -> list[list[int]]:
        """Computes, for each hash of each bucket, the minimum over all permuted shingles."""
        factors, summands = self.parameters
        least = np.full(self.num_hashes, np.iinfo(np.uint64).max, np.uint64)
        for start in range(0, len(shingles), _BLOCK):
            hashes = shingles[start : start + _BLOCK] * (factors | np.uint64(1))
            hashes += summands
            np.minimum(least, hashes.min(axis=0), out=least)
        least >>= np.uint64(3)  # datatrove takes hashes of 61 bits.
        signature: list[list[int]] = least.reshape(self.config.num_buckets, -1).tolist()
        return signature
