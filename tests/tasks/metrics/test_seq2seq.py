from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.tasks.metrics.seq2seq import WordTokenizer, scores


def test_hangul_counts_as_words() -> None:
    words = WordTokenizer().tokenize("제주-바다, GBST_2는 \u1100\u1161「좋다」!")
    assert words == ["제주", "바다", "gbst", "2는", "\u1100\u1161", "좋다"]


def test_scores_of_a_worked_example() -> None:
    # Characters: 3 of 4, 2 of 3 pairs, 1 of 2 triples, 0 of 1 in both directions.
    assert scores(["가나다라"], ["가나다마"]) == {
        "exact_match": 0,
        "chrf": pytest.approx(100 * (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4),
        "rouge_1": 0,
        "rouge_2": 0,
        "rouge_l": 0,
    }
    # Of 4 and 3 words 3 in common, 2 in order; of 3 and 2 pairs none.
    result = scores(["나는 제주에 또 갔다"], ["제주에 나는 갔다."])
    assert result["rouge_1"] == pytest.approx(100 * 2 * 3 / 7)
    assert result["rouge_2"] == 0
    assert result["rouge_l"] == pytest.approx(100 * 2 * 2 / 7)


def test_equal_texts_score_100_and_none_0() -> None:
    assert set(scores(["제주 바다"] * 2, ["제주 바다\n"] * 2).values()) == {100.0}
    assert set(scores(["제주 바다"], [""]).values()) == {0.0}
    assert set(scores([], []).values()) == {0.0}
    with pytest.raises(ValueError, match="zip"):
        scores(["가"], [])


def rouge_by_hand(gold: list[str], predicted: list[str]) -> tuple[float, float, float]:
    def f1(both: int, wanted: int, given: int) -> float:
        return 2 * both / (wanted + given) if both else 0.0

    def common(one: list, other: list) -> float:
        return f1((Counter(one) & Counter(other)).total(), len(one), len(other))

    row = [0] * (len(predicted) + 1)
    for word in gold:
        before, row = row, [0]
        for place, other in enumerate(predicted):
            both = before[place] + 1 if word == other else max(row[-1], before[place + 1])
            row.append(both)
    longest = f1(row[-1], len(gold), len(predicted))
    return common(gold, predicted), common(*(list(pairwise(t)) for t in (gold, predicted))), longest


WORDS = st.lists(st.sampled_from(["가", "나다", "라"]), max_size=7)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_rouge_is_that_by_hand(pairs: list[tuple[list[str], list[str]]]) -> None:
    result = scores([" ".join(g) for g, _ in pairs], [" ".join(p) for _, p in pairs])
    expected = zip(*(rouge_by_hand(*pair) for pair in pairs), strict=True)
    for key, values in zip(("rouge_1", "rouge_2", "rouge_l"), expected, strict=True):
        assert result[key] == pytest.approx(100 * sum(values) / len(pairs))
