"""Constraints on what may be generated, as automata over byte ids."""

from kebyt5.generation.constraints.constraint import Constraint, ConstraintError
from kebyt5.generation.constraints.copy_with_tags import CopyWithTags
from kebyt5.generation.constraints.dependencies import DependencyRows
from kebyt5.generation.constraints.grammar import Grammar
from kebyt5.generation.constraints.labels import LabelTrie
from kebyt5.generation.constraints.utf8 import UTF8

__all__ = [
    "UTF8",
    "Constraint",
    "ConstraintError",
    "CopyWithTags",
    "DependencyRows",
    "Grammar",
    "LabelTrie",
]
