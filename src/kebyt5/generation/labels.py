"""Labels as a constraint; they live among the others."""

from kebyt5.generation.constraints.labels import LabelTrie

__all__ = ["LabelTrie"]
