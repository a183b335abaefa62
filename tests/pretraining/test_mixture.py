"""Which chunk an index draws: shares, passes and permutations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.errors import InputError
from kebyt5.pretraining.mixture import BLOCK, Mixture, shares_by_weight
from kebyt5.pretraining.randomness import key, mix, permute, uniform

numbers = st.integers(0, 2**64 - 1)


@given(st.integers(1, 3_000), numbers)
def test_a_permutation_meets_every_index_once(size, secret):
    indices = np.arange(size, dtype=np.uint64)
    keys = np.full(size, secret, np.uint64)
    found = permute(indices, np.full(size, size, np.uint64), keys)
    assert np.array_equal(np.sort(found), indices)


def test_permutations_of_several_sizes_at_once():
    sizes = np.repeat(np.array([1, 2, 50, 1000], np.uint64), [1, 2, 50, 1000])
    indices = np.concatenate([np.arange(n) for n in (1, 2, 50, 1000)]).astype(np.uint64)
    found = permute(indices, sizes, np.full(len(sizes), 7, np.uint64))
    for size in (1, 2, 50, 1000):
        assert sorted(found[sizes == size].tolist()) == list(range(size))


def test_a_permutation_of_a_huge_range_stays_in_it():
    size = 2**40 + 12345
    indices = np.arange(10_000, dtype=np.uint64)
    found = permute(indices, np.full(10_000, size, np.uint64), np.full(10_000, 3, np.uint64))
    assert len(np.unique(found)) == 10_000
    assert found.max() < size
    assert found.mean() / size == pytest.approx(0.5, abs=0.02)


def test_permutations_look_random():
    size, trials = 100, 3_000
    keys = np.repeat(mix(np.arange(trials, dtype=np.uint64)), size)
    indices = np.tile(np.arange(size, dtype=np.uint64), trials)
    found = permute(indices, np.full(len(keys), size, np.uint64), keys).reshape(trials, size)
    # Where index 0 and index 1 go: all places alike, and independent of each other.
    for index in (0, 1, 99):
        expected = trials / size
        chi = ((np.bincount(found[:, index].astype(int), minlength=size) - expected) ** 2).sum()
        assert chi / expected < size + 5 * np.sqrt(2 * size)
    steps = (found[:, 1].astype(int) - found[:, 0].astype(int)) % size
    chi = ((np.bincount(steps, minlength=size)[1:] - trials / 99) ** 2).sum() / (trials / 99)
    assert chi < size + 5 * np.sqrt(2 * size)


def test_random_numbers_are_uniform_and_functions_of_their_row():
    keys = mix(np.arange(2_000, dtype=np.uint64))
    drawn = uniform(keys, 20)
    assert 0 <= drawn.min() < 0.001
    assert 0.999 < drawn.max() < 1
    assert drawn.mean(0) == pytest.approx(0.5, abs=0.03)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(20)).max() < 0.1
    assert np.array_equal(uniform(keys[5:6], 4), drawn[5:6, :4])
    assert len({int(key(a, b)) for a in range(50) for b in range(50)}) == 2_500


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 10)), min_size=1, max_size=5),
    st.integers(0, 2**63),
)
def test_a_source_is_passed_over_chunk_by_chunk(sources, seed):
    chunks, shares = zip(*sources, strict=True)
    mixture = Mixture(chunks, shares, seed)
    source, chunk = mixture(np.arange(BLOCK))
    exact = np.array(shares) / sum(shares) * BLOCK
    drawn = np.bincount(source, minlength=len(chunks))
    assert np.abs(drawn - exact).max() <= 1
    for number, size in enumerate(chunks):
        times = np.bincount(chunk[source == number].astype(int), minlength=size)
        assert times.max() - times.min() <= 1
        assert len(times) == size


def test_a_single_source_is_shuffled_anew_for_every_pass():
    mixture = Mixture([1000], [1], 0)
    slots, chunk = mixture(np.arange(BLOCK * 2))
    assert not slots.any()
    times = np.bincount(chunk.astype(int))
    assert times.max() - times.min() <= 1
    again = Mixture([1000], [1], 1)(np.arange(BLOCK))[1]
    assert np.mean(again == chunk[:BLOCK]) < 0.01


def test_access_is_random():
    mixture = Mixture([700, 50, 3], [5, 2, 1], 3)
    whole = np.array(mixture(np.arange(5_000)))
    order = np.random.default_rng(0).permutation(5_000)
    assert np.array_equal(np.array(mixture(order)), whole[:, order])
    far = np.array([10**15, 10**15 + 1])
    assert np.array_equal(np.array(mixture(far))[:, 1], np.array(mixture(far[1:]))[:, 0])


def test_shares_hold_in_short_stretches_too():
    source, _ = Mixture([100_000, 100_000], [3, 1], 0)(np.arange(4_000))
    assert np.mean(source == 0) == pytest.approx(0.75, abs=0.03)


def test_weights_multiply_sizes():
    sizes = {"law": 50, "film": 20}
    assert shares_by_weight(sizes, {}) == [50, 20]
    assert shares_by_weight(sizes, {"law": 0.5}) == [25, 20]
    assert shares_by_weight(sizes, {"law": 0}) == [0, 20]
    huge = shares_by_weight(sizes, {"law": 1e308, "film": 1e308})
    assert Mixture([9, 9], huge, 0).slots.tolist() == Mixture([9, 9], [50, 20], 0).slots.tolist()
    for weights, problem in (
        ({"laws": 1}, "weight of laws: no such source; there are law, film"),
        ({"law": -1}, "has to be 0 or more"),
        ({"law": float("nan")}, "has to be 0 or more"),
        ({"law": 0, "film": 0}, "all are 0"),
    ):
        with pytest.raises(InputError, match=problem):
            shares_by_weight(sizes, weights)
