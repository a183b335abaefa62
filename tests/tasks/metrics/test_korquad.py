import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.tasks.metrics.korquad import character_f1, normalize, scores

TEXTS = st.text("가나다aB1 .,'《’-(\n", max_size=12)


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("《귤》과〈감〉, ‘배’", "귤 과 감 배"),
        ("가(나)다<라>'마'\"바\"", "가 나 다 라 마 바"),
        ("A.B-1,000\u3000 원!", "ab1000 원"),
        ("“가”", "“가”"),
        ("...", ""),
    ],
)
def test_answers_are_normalized_as_in_the_official_code(answer: str, normal: str) -> None:
    assert normalize(answer) == normal


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [("제주 바다", "바다제주", 1), ("제주주", "제주", 0.8), ("", "가", 0), ("", "", 0)],
)
def test_f1_is_of_the_characters_as_bags(predicted: str, gold: str, score: float) -> None:
    assert character_f1(predicted, gold) == pytest.approx(score)


def by_hand(gold: str, predicted: str) -> tuple[float, float]:
    """Both scores of one answer, character by character."""

    def clean(text: str) -> str:
        text = re.sub("['\"<>()《》〈〉‘’]", " ", text).lower()
        return " ".join("".join(c for c in text if c not in string.punctuation).split())

    given, wanted = clean(predicted), clean(gold)
    rest = [character for character in wanted if character != " "]
    letters = [character for character in given if character != " "]
    precision, recall, size = len(letters), len(rest), 0
    for character in letters:
        if character in rest:
            rest.remove(character)
            size += 1
    if not size:
        return float(given == wanted), 0.0
    p, r = size / precision, size / recall
    return float(given == wanted), 2 * p * r / (p + r)


@given(st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1))
def test_scores_are_those_by_hand(questions: list[tuple[list[str], str]]) -> None:
    count = len(questions)
    each = [[by_hand(g, predicted) for g in golds] for golds, predicted in questions]
    result = scores([golds for golds, _ in questions], [predicted for _, predicted in questions])
    assert result == {
        "exact_match": pytest.approx(100 * sum(max(e for e, _ in pairs) for pairs in each) / count),
        "f1": pytest.approx(100 * sum(max(f for _, f in pairs) for pairs in each) / count),
    }
