import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.tasks.metrics.wos import scores, slot_f1

STATES = st.frozensets(st.sampled_from("abcde"))


@pytest.mark.parametrize(
    ("gold", "predicted", "score"),
    [("", "", 1), ("", "a", 0), ("a", "", 0), ("ab", "ab", 1), ("ab", "acd", 2 / 5)],
)
def test_the_f1_of_a_turn(gold: str, predicted: str, score: float) -> None:
    assert slot_f1(set(gold), set(predicted)) == pytest.approx(score)


@given(st.lists(st.tuples(STATES, STATES), min_size=1))
def test_scores_are_the_means_over_the_turns(turns: list[tuple[frozenset, frozenset]]) -> None:
    right, f1 = 0, 0.0
    for gold, predicted in turns:
        right += sorted(gold) == sorted(predicted)
        hits = sum(pair in predicted for pair in gold)
        if not gold:
            f1 += not predicted
        elif hits:
            precision, recall = hits / len(predicted), hits / len(gold)
            f1 += 2 * precision * recall / (precision + recall)
    assert scores([g for g, _ in turns], [p for _, p in turns]) == {
        "jga": pytest.approx(100 * right / len(turns)),
        "slot_f1": pytest.approx(100 * f1 / len(turns)),
    }


def test_scores_of_nothing_are_0_and_shapes_must_agree() -> None:
    assert scores([], []) == {"jga": 0, "slot_f1": 0}
    with pytest.raises(ValueError, match="zip"):
        scores([frozenset()], [])
