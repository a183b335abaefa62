"""Signatures are datatrove's, of character shingles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.config import Dedup
from kebyt5.corpus.dedup import CharacterSignature, minhash_config


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return CharacterSignature(str(tmp_path_factory.mktemp("signatures")), minhash_config(Dedup()))


def similarity(signer, first, second):
    """Jaccard similarity of the shingles, and the share of hashes in common."""
    a, b = (signer.get_shingles(text) for text in (first, second))
    shared = len(np.intersect1d(a, b)) / len(np.union1d(a, b))
    hashes = np.array([signer.get_signature(a), signer.get_signature(b)])
    return shared, float((hashes[0] == hashes[1]).mean())


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=1500))
def test_a_signature_is_the_least_of_every_permutation(signer, values):
    factors, summands = ([int(value) for value in row[0]] for row in signer.parameters)
    expected = [
        min((value * (factor | 1) + summand) % 2**64 for value in values) >> 3
        for factor, summand in zip(factors[:3], summands[:3], strict=True)
    ]
    signature = signer.get_signature(np.array(values, np.uint64).reshape(-1, 1))
    assert signature[0][:3] == expected
    assert np.array(signature).shape == (14, 8)
    assert np.max(signature) < 2**61 - 1


def test_blanks_punctuation_and_case_do_not_matter(signer):
    first = signer.get_shingles("봄이 왔다. 꽃이 피었다! ABC가 보인다")
    second = signer.get_shingles("봄이왔다 꽃이\n피었다 abc가 '보인다'")
    assert np.array_equal(first, second)
    assert signer.get_shingles("짧은 글").shape == (0, 1)


def test_shingles_are_runs_of_characters(signer):
    text = "가나다라마바사아자차"
    assert len(signer.get_shingles(text)) == len(text) - 8 + 1
    assert signer.get_shingles(text)[1] == signer.get_shingles(text[1:9])[0]
    assert len(set(signer.get_shingles(text).ravel())) == 3


def test_signatures_estimate_similarity(signer):
    rng = np.random.default_rng(0)
    errors = []
    for changed in np.tile((0, 10, 50, 100, 300, 600), 12):
        syllables = np.array([chr(code) for code in rng.integers(0xAC00, 0xD7A4, 3000)])
        other = syllables[:1500].copy()
        places = rng.choice(1500, changed, replace=False) if changed < 100 else slice(0, changed)
        other[places] = syllables[1500 : 1500 + changed]
        shared, estimated = similarity(signer, "".join(syllables[:1500]), "".join(other))
        errors.append(shared - estimated)
        assert changed or estimated == 1
    # The standard deviation of 112 independent hashes is at most 0.047, that of 72 means 0.0056.
    assert np.std(errors) < 0.047
    assert abs(np.mean(errors)) < 0.02
