import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.tasks.metrics.mrc import normalize, rouge_w, scores

TEXTS = st.text("가나다aB1 .,'《’\n", max_size=12)


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        (" The  BMW, 740Li! ", "the bmw 740li"),
        ("[알 수 없음]", "알 수 없음"),
        ("《귤》과 〈감〉, ‘배’", "《귤》과 〈감〉 ‘배’"),
        ("\"가\" '나' (다)", "가 나 다"),
        ("1,000\u3000원", "1000 원"),
        ("...", ""),
    ],
)
def test_answers_are_normalized_as_in_the_official_code(answer: str, normal: str) -> None:
    assert normalize(answer) == normal


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [
        ("제주 바다", "제주 바다", 1),
        # 3 of 4 given characters in a row, of 5 wanted.
        ("주 바람", "제주 바다", 2 * 3 / (4 + 5)),
        # Apart, the longest run counts, not all that is common.
        ("가나xx다라마", "가나다라마", 2 * 3 / (7 + 5)),
        ("", "가", 0),
        ("가", "", 0),
        ("", "", 1),
        ("나", "가", 0),
    ],
)
def test_rouge_w_is_the_f1_of_the_longest_common_run(
    predicted: str, gold: str, score: float
) -> None:
    assert rouge_w(predicted, gold) == pytest.approx(score)


def test_rouge_w_passes_over_frequent_characters_of_long_answers_as_the_official_code() -> None:
    assert rouge_w("나" + "가" * 199, "가" * 199) == 2 * 199 / 399
    assert rouge_w("나" + "가" * 200, "가" * 200) == 0


def by_hand(golds: list[str], predicted: str) -> tuple[float, float]:
    """Both scores of one question, from all substrings."""

    def clean(text: str) -> str:
        text = re.sub(f"[{re.escape(string.punctuation)}]", "", text.lower())
        return re.sub(r"\s+", " ", text).strip()

    def f1(given: str, wanted: str) -> float:
        if not wanted or not given:
            return float(wanted == given)
        runs = [given[a:b] for a in range(len(given)) for b in range(a, len(given) + 1)]
        size = max(len(run) for run in runs if run in wanted)
        precision, recall = size / len(given), size / len(wanted)
        return 2 * precision * recall / (precision + recall) if size else 0.0

    given = clean(predicted)
    return max(float(given == clean(g)) for g in golds), max(f1(given, clean(g)) for g in golds)


@given(st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1))
def test_scores_are_those_by_hand(questions: list[tuple[list[str], str]]) -> None:
    expected = [by_hand(golds, predicted) for golds, predicted in questions]
    result = scores([golds for golds, _ in questions], [predicted for _, predicted in questions])
    count = len(questions)
    assert result == {
        "exact_match": pytest.approx(100 * sum(exact for exact, _ in expected) / count),
        "rouge_w": pytest.approx(100 * sum(f1 for _, f1 in expected) / count),
    }


def test_scores_of_nothing_are_0_and_shapes_must_agree() -> None:
    assert scores([], []) == {"exact_match": 0, "rouge_w": 0}
    with pytest.raises(ValueError, match="zip"):
        scores([["가"]], [])
