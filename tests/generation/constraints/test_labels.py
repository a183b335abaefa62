"""What the trie admits are the labels, each as a whole, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5 import ByteTokenizer
from kebyt5.generation.batch import generate_texts
from kebyt5.generation.constraints import LabelTrie


def words(trie, state=None, before=()):
    """All id sequences that the trie admits."""
    state = trie.start() if state is None else state
    allowed = np.flatnonzero(trie.allowed(state)).tolist()
    if not allowed:
        yield list(before)
    for byte_id in allowed:
        yield from words(trie, trie.advance(state, byte_id), (*before, byte_id))


@given(st.lists(st.text(max_size=4), min_size=1, max_size=8))
def test_words_are_the_labels(labels):
    trie = LabelTrie(labels)
    tokenizer = ByteTokenizer()
    assert sorted(words(trie)) == sorted(tokenizer(label).input_ids for label in set(labels))


def test_equal_beginnings_are_one_path():
    assert len(LabelTrie(["가", "각"])) < len(LabelTrie(["가"])) + len(LabelTrie(["각"])) - 1
    with pytest.raises(KeyError):
        LabelTrie(["가"]).advance(0, 5)
    with pytest.raises(ValueError, match="at least one"):
        LabelTrie([])


@pytest.mark.parametrize("num_beams", [1, 3])
def test_generated_texts_are_labels(tiny_model, num_beams):
    labels = ["가", "각", "", "나라", "가나"]
    inputs = ["하나", "둘", "", "셋" * 9]
    limits = [20] * len(inputs)
    texts = generate_texts(tiny_model(), inputs, limits, 3, num_beams, "", LabelTrie(labels))
    assert set(texts) <= set(labels)
