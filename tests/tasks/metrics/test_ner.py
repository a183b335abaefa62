import random
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score as sklearn_f1

from kebyt5.tasks import get_task
from kebyt5.tasks.metrics.ner import (
    TAGS,
    TYPES,
    Entity,
    entities,
    entity_type_scores,
    scores,
    to_tags,
    without_blanks,
)

Tags = list[list[str]]

# Any tag anywhere, so most sequences are not proper IOB2.
TAG_PAIRS = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=12))


def official(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """The scores as the KLUE baseline computes them, with seqeval and scikit-learn."""
    gold_tags, predicted_tags = list(chain(*gold)), list(chain(*predicted))

    def characters(labels: Sequence[str]) -> float:
        return sklearn_f1(
            gold_tags, predicted_tags, labels=labels, average="macro", zero_division=1
        )

    def whole(average: str) -> float:
        lists = list(map(list, gold)), list(map(list, predicted))
        return seqeval_f1(*lists, average=average, mode="strict", scheme=IOB2)

    return {
        "entity_macro_f1": 100 * whole("macro"),
        "entity_micro_f1": 100 * whole("micro"),
        "char_macro_f1": 100 * characters(TAGS),
        "char_macro_f1_no_o": 100 * characters([tag for tag in TAGS if tag != "O"]),
    }


@given(TAG_PAIRS)
def test_scores_are_those_of_seqeval_and_scikit_learn(pairs: list[list[tuple[str, str]]]) -> None:
    gold: Tags = [[g for g, _ in sentence] for sentence in pairs]
    predicted: Tags = [[p for _, p in sentence] for sentence in pairs]
    assume(any(map(entities, [*gold, *predicted])))  # else seqeval divides 0 by 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = official(gold, predicted)
    assert scores(gold, predicted) == pytest.approx(expected, abs=1e-9)


def test_scores_are_the_official_ones_on_noisy_predictions(klue_data: Path) -> None:
    ner, rng = get_task("ner"), random.Random(0)
    examples = list(ner.read(klue_data / "klue/klue-ner-v1.1/klue-ner-v1.1_dev.tsv"))
    gold = [without_blanks(e.inputs["sentence"], e.gold) for e in examples]
    noisy = [[rng.choice(TAGS) if rng.random() < 0.05 else t for t in tags] for tags in gold]
    assert scores(gold, noisy) == pytest.approx(official(gold, noisy), abs=1e-9)


def test_worked_example() -> None:
    gold = [["B-PS", "I-PS", "O", "B-LC"], ["B-LC", "O"]]
    predicted = [["B-PS", "I-PS", "O", "B-OG"], ["B-LC", "B-LC"]]
    # Entities: PS 1 of 1. LC 1 found, 2 wanted, 2 given: 2·1 / (2+2). OG given, not wanted: 0.
    # Tags: B-PS, I-PS 1. B-LC 2·1 / (2+2). B-OG 0. O 2·1 / (2+1). The other 8 occur nowhere: 1.
    assert scores(gold, predicted) == pytest.approx(
        {
            "entity_macro_f1": 100 * (1 + 1 / 2 + 0) / 3,
            "entity_micro_f1": 100 * (2 * 2) / (3 + 4),
            "char_macro_f1": 100 * (2 + 1 / 2 + 0 + 2 / 3 + 8) / 13,
            "char_macro_f1_no_o": 100 * (2 + 1 / 2 + 0 + 8) / 12,
        }
    )


def test_without_any_entity_the_entity_scores_are_0() -> None:
    result = scores([["O", "O"]], [["O", "I-PS"]])
    assert result["entity_macro_f1"] == result["entity_micro_f1"] == 0


@pytest.mark.parametrize("predicted", [[], [["O"]], [["O", "O"], ["O"]]])
def test_gold_and_prediction_must_have_one_shape(predicted: Tags) -> None:
    with pytest.raises(ValueError, match="zip"):
        scores([["O", "O"]], predicted)


def test_an_i_that_continues_nothing_belongs_to_no_entity() -> None:
    tags = ["I-PS", "B-PS", "I-LC", "I-LC", "B-DT", "I-DT", "B-DT", "O", "I-DT"]
    assert entities(tags) == [Entity("PS", 1, 2), Entity("DT", 4, 6), Entity("DT", 6, 7)]


@given(st.lists(st.sampled_from(TAGS)))
def test_entities_and_tags_are_inverse(tags: list[str]) -> None:
    found = entities(tags)
    assert entities(to_tags(found, len(tags))) == found


def test_only_the_blank_itself_is_dropped() -> None:
    assert without_blanks("가 나\u00a0\t", ["B-PS", "O", "B-LC", "I-LC", "O"]) == [
        "B-PS",
        "B-LC",
        "I-LC",
        "O",
    ]


@given(TAG_PAIRS)
def test_types_are_scored_as_in_the_mean_over_them(pairs: list[list[tuple[str, str]]]) -> None:
    gold: Tags = [[g for g, _ in sentence] for sentence in pairs]
    predicted: Tags = [[p for _, p in sentence] for sentence in pairs]
    types = entity_type_scores(gold, predicted)
    mean = sum(type_.f1 for type_ in types) / max(1, len(types))
    assert mean == pytest.approx(scores(gold, predicted)["entity_macro_f1"])
    for name, wanted, guessed, f1 in types:
        # With the tags of one type alone, the score over all is that of the type.
        only = [
            [[tag if tag.endswith(name) else "O" for tag in tags] for tags in side]
            for side in (gold, predicted)
        ]
        assert f1 == pytest.approx(scores(*only)["entity_micro_f1"])
        assert [wanted, guessed] == [sum(len(entities(tags)) for tags in side) for side in only]
    names = [type_.label for type_ in types]
    assert names == [name for name in TYPES if name in names]
