"""Constraints on what may be generated, as automata over byte ids."""

from kebyt5.generation.constraints.choices import Choices
from kebyt5.generation.constraints.constraint import Constraint, ConstraintError
from kebyt5.generation.constraints.copy_with_tags import CopyWithTags
from kebyt5.generation.constraints.grammar import Grammar
from kebyt5.generation.constraints.utf8 import UTF8

__all__ = [
    "UTF8",
    "Choices",
    "Constraint",
    "ConstraintError",
    "CopyWithTags",
    "Grammar",
]
