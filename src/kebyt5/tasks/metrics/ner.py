"""The official KLUE-NER scores, computed from one IOB2 tag per character."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from kebyt5.tasks.metrics.classification import LabelScore

TYPES = ("PS", "LC", "OG", "DT", "TI", "QT")
"""Person, location, organization, date, time, quantity."""

TAGS = (*(f"{prefix}-{type_}" for type_ in TYPES for prefix in "BI"), "O")


class Entity(NamedTuple):
    """A typed span of characters, `end` exclusive."""

    type: str
    start: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """Reads the entities from IOB2 tags, strictly.

    An entity is a B- tag and the I- tags of the same type that directly follow it. An I- tag that
    continues nothing is not an entity and belongs to none, as in the official score (seqeval's
    strict IOB2).
    """
    found: list[Entity] = []
    start = None
    for place, tag in enumerate(chain(tags, ["O"])):
        if start is not None and tag != f"I-{tags[start][2:]}":
            found.append(Entity(tags[start][2:], start, place))
            start = None
        if tag.startswith("B-"):
            start = place
    return found


def to_tags(found: Iterable[Entity], length: int) -> tuple[str, ...]:
    """Writes entities as IOB2 tags, one for each of `length` characters."""
    tags = ["O"] * length
    for type_, start, end in found:
        tags[start:end] = [f"B-{type_}"] + [f"I-{type_}"] * (end - start - 1)
    return tuple(tags)


def without_blanks(sentence: str, tags: Sequence[str]) -> list[str]:
    """Drops the tags of blanks, which the official scores ignore.

    An entity that begins with a blank loses its B- tag and no longer counts, in the gold as in the
    prediction. Two of the published sentences have one; this is kept for equal scores.
    """
    return [tag for character, tag in zip(sentence, tags, strict=True) if character != " "]


def scores(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Computes all scores of KLUE-NER in percent.

    Args:
        gold: The tags of each sentence, without those of blanks (`without_blanks`).
        predicted: The predicted tags of each sentence, also without those of blanks.

    Returns:
        entity_macro_f1: Official. F1 of exactly equal entities, averaged over the types that occur
            in gold or prediction: a type that only one of them has scores 0, a type that neither
            has is left out. Without any entity the score is 0, where seqeval divides 0 by 0.
        entity_micro_f1: F1 of exactly equal entities over all types together.
        char_macro_f1: Official. F1 of the tags, averaged over all 13 of them; a tag that neither
            gold nor prediction has scores 100. The published code also counts the two special
            tokens around each sentence as O; a text-to-text model has none.
        char_macro_f1_no_o: F1 averaged over the 12 tags other than O, as the paper defines it.

    Raises:
        ValueError: Gold and prediction differ in shape.
    """
    gold_entities, predicted_entities = _all_entities(gold), _all_entities(predicted)
    both = gold_entities & predicted_entities
    types = _score_types(gold_entities, predicted_entities)
    characters = Counter(
        (g, p)
        for gold_tags, predicted_tags in zip(gold, predicted, strict=True)
        for g, p in zip(gold_tags, predicted_tags, strict=True)
    )
    tag_f1 = {tag: _tag_f1(tag, characters) for tag in TAGS}
    return {
        "entity_macro_f1": _mean([type_.f1 for type_ in types]),
        "entity_micro_f1": 100 * _f1(len(both), len(gold_entities), len(predicted_entities)),
        "char_macro_f1": 100 * _mean(list(tag_f1.values())),
        "char_macro_f1_no_o": 100 * _mean([f1 for tag, f1 in tag_f1.items() if tag != "O"]),
    }


def entity_type_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> list[LabelScore]:
    """Scores the types of entities whose mean is `entity_macro_f1`.

    Args:
        gold: The tags of each sentence, without those of blanks (`without_blanks`).
        predicted: The predicted tags of each sentence, also without those of blanks.
    """
    return _score_types(_all_entities(gold), _all_entities(predicted))


def _score_types(
    gold: set[tuple[int, Entity]], predicted: set[tuple[int, Entity]]
) -> list[LabelScore]:
    hits, wanted, given = (
        Counter(entity.type for _, entity in found) for found in (gold & predicted, gold, predicted)
    )
    return [
        LabelScore(t, wanted[t], given[t], 100 * _f1(hits[t], wanted[t], given[t]))
        for t in TYPES
        if wanted[t] or given[t]
    ]


def _all_entities(sentences: Sequence[Sequence[str]]) -> set[tuple[int, Entity]]:
    return {(i, entity) for i, tags in enumerate(sentences) for entity in entities(tags)}


def _tag_f1(tag: str, characters: Counter[tuple[str, str]]) -> float:
    wanted = sum(count for (g, _), count in characters.items() if g == tag)
    given = sum(count for (_, p), count in characters.items() if p == tag)
    return _f1(characters[tag, tag], wanted, given, of_nothing=1.0)


def _f1(hits: int, wanted: int, given: int, of_nothing: float = 0.0) -> float:
    """Computes 2PR / (P + R) from counts."""
    return 2 * hits / (wanted + given) if wanted + given else of_nothing


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
