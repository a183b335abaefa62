"""Draws follow the distribution they should, and depend on seed and position alone."""

import numpy as np
import pytest
from scipy.stats import chisquare

from kebyt5.generation.sampling import Scores, best, draw

LOGITS = np.array([0.3, -1.0, 2.0, 1.2, -np.inf, 0.0, 0.9, -np.inf], np.float32)


def frequencies(temperature, top_p=1.0, draws=20_000):
    drawn = [draw(LOGITS, temperature, top_p, 7, position)[0] for position in range(draws)]
    return np.bincount(drawn, minlength=len(LOGITS))


def probabilities(temperature):
    weights = np.exp(LOGITS.astype(float) / temperature)
    return weights / weights.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_draws_follow_the_softmax_over_what_is_allowed(temperature):
    counts, expected = frequencies(temperature), probabilities(temperature)
    allowed = expected > 0
    assert counts[~allowed].sum() == 0
    assert chisquare(counts[allowed], expected[allowed] * counts.sum()).pvalue > 1e-3


def test_the_nucleus_is_the_fewest_likely_ids_and_renormalized():
    expected = probabilities(1.0)
    order = np.argsort(-expected)
    size = int(np.searchsorted(np.cumsum(expected[order]), 0.8)) + 1
    counts = frequencies(1.0, top_p=0.8)
    kept = order[:size]
    assert counts[order[size:]].sum() == 0
    assert (
        chisquare(counts[kept], expected[kept] / expected[kept].sum() * counts.sum()).pvalue > 1e-3
    )
    assert set(np.flatnonzero(frequencies(1.0, top_p=1e-9, draws=50))) == {order[0]}


def test_positions_and_seeds_are_independent():
    flat = np.zeros(16, np.float32)
    drawn = np.array([[draw(flat, 1, 1, seed, p)[0] for p in range(3000)] for seed in (1, 2)])
    pairs = [drawn[0][:-1] * 16 + drawn[0][1:], drawn[0] * 16 + drawn[1]]
    for pair in pairs:
        assert chisquare(np.bincount(pair, minlength=256)).pvalue > 1e-3


def test_rows_together_score_as_each_alone():
    logits = np.random.default_rng(0).integers(-6, 5, (200, 8)).astype(np.float32)
    scores = Scores.of(logits).rows(50, 150)
    assert [(int(b), float(lead)) for b, lead in zip(scores.best, scores.lead, strict=True)] == [
        best(row) for row in logits[50:150]
    ]
    assert (scores.largest == abs(logits[50:150]).max(axis=1)).all()
    assert len(set(scores.lead)) > 3


def test_the_lead_is_what_changes_the_choice():
    assert best(np.array([1.0, 2.0, 1.75], np.float32)) == (1, 0.25)
    assert best(np.array([2.0, 1.0, 2.0], np.float32)) == (0, 0.0)
    for position in range(20):
        chosen, lead = draw(LOGITS, 0.7, 1.0, 3, position)
        others = np.arange(len(LOGITS)) != chosen
        for more, changed in ((0.999 * lead, False), (1.001 * lead, True)):
            raised = LOGITS.astype(float) + np.where(others, more, 0.0)
            assert (draw(raised, 0.7, 1.0, 3, position)[0] != chosen) == changed


def test_what_rounding_may_put_into_the_nucleus_is_in_doubt_if_it_would_be_drawn():
    weights = probabilities(1.0)
    order = np.argsort(-weights)
    edge = np.cumsum(weights[order])[1]  # of the two likeliest together
    equal = np.array([1.0, 3.0, 3.0 + 1e-6], np.float32)
    for position in range(200):
        for top_p, sure in ((edge, False), (edge - 1e-3, True), (edge + 1e-3, True)):
            lead = draw(LOGITS, 1.0, top_p, 3, position)[1]
            third_would_be = draw(LOGITS, 1.0, edge + 1e-3, 3, position)[0] == order[2]
            assert (lead == 0) == (not sure and third_would_be)
        # Which of two equals is left out.
        assert draw(equal, 1.0, 0.3, 3, position)[1] == 0


def test_next_to_no_temperature_the_likeliest_id_is_drawn():
    for temperature in (1e-3, 1e-100, 5e-324):
        drawn = [draw(LOGITS, temperature, 0.9, 0, position) for position in range(20)]
        assert {chosen for chosen, _ in drawn} == {2}
        assert {draw(LOGITS, temperature, 1.0, 0, position)[0] for position in range(20)} == {2}
