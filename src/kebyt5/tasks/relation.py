"""Relations between two entities of a sentence (KLUE-RE)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from kebyt5.tasks.files import Record
from kebyt5.tasks.label import LabelTask
from kebyt5.tasks.metrics.classification import auprc, micro_f1, softmax
from kebyt5.tasks.task import Example

NO_RELATION = "no_relation"

RELATIONS = (
    NO_RELATION,
    "org:dissolved",
    "org:founded",
    "org:place_of_headquarters",
    "org:alternate_names",
    "org:member_of",
    "org:members",
    "org:political/religious_affiliation",
    "org:product",
    "org:founded_by",
    "org:top_members/employees",
    "org:number_of_employees/members",
    "per:date_of_birth",
    "per:date_of_death",
    "per:place_of_birth",
    "per:place_of_death",
    "per:place_of_residence",
    "per:origin",
    "per:employee_of",
    "per:schools_attended",
    "per:alternate_names",
    "per:parents",
    "per:children",
    "per:siblings",
    "per:spouse",
    "per:other_family",
    "per:colleagues",
    "per:product",
    "per:religion",
    "per:title",
)
"""The 30 classes in the official order."""


class RE(LabelTask):
    """KLUE-RE: the relation of an object entity to a subject entity."""

    name: ClassVar[str] = "re"
    title: ClassVar[str] = "Relation extraction (KLUE-RE)"
    formats: ClassVar[str] = "KLUE-RE json, parquet"
    input_fields: ClassVar[tuple[str, ...]] = (
        "sentence",
        "subject",
        "subject_type",
        "object",
        "object_type",
    )
    main_score: ClassVar[str] = "micro_f1"
    labels = RELATIONS

    def inputs(self, record: Record) -> dict[str, str]:
        """Extracts the sentence, and word and type of `subject_entity` and `object_entity`."""
        found = {"sentence": record.text("sentence")}
        for role in ("subject", "object"):
            entity = record.part(f"{role}_entity")
            found |= {role: entity.text("word"), f"{role}_type": entity.text("type")}
        return found

    def input_text(self, example: Example) -> str:
        """Returns the sentence, followed by both entities."""
        return (
            "task: RE\n\n### 문장\n{sentence}\n### 주어: {subject} ({subject_type})\n"
            "### 목적어: {object} ({object_type})\n"
        ).format_map(example.inputs)

    def damage(self, example: Example, noise: Callable[[str], str]) -> Example:
        """Damages the sentence, and each entity as where the sentence mentions it."""
        entities = {role: example.inputs[role] for role in ("subject", "object")}
        longest_first = sorted(filter(None, entities.values()), key=len, reverse=True)
        mention = "|".join(map(re.escape, longest_first)) or "$"
        # Noise depends on the text alone, so each mention is damaged as the entity is.
        pieces = re.split(f"({mention})", example.inputs["sentence"])
        damaged = {role: noise(text) for role, text in entities.items()}
        damaged["sentence"] = "".join(map(noise, pieces))
        return replace(example, inputs={**example.inputs, **damaged})

    def metrics(self, gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
        """Computes the official micro F1 over the 29 relations without `no_relation`."""
        return {"micro_f1": micro_f1(gold, predicted, RELATIONS[1:])}

    def score_likelihoods(
        self, examples: Sequence[Example], log_likelihoods: np.ndarray
    ) -> dict[str, float]:
        """Computes the scores of any label task, and the area under the precision-recall curve.

        Returns:
            auprc: Official. The mean over all 30 classes.
            auprc_present: The mean over the classes that occur in the gold.
        """
        found = super().score_likelihoods(examples, log_likelihoods)
        probabilities = softmax(log_likelihoods)
        gold = [RELATIONS.index(self.gold(example)) for example in examples]
        return {
            **found,
            "auprc": auprc(probabilities, gold),
            "auprc_present": auprc(probabilities, gold, only_present=True),
        }


__all__ = ["RE", "RELATIONS"]
