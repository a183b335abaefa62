"""The constraint that a request asks for."""

import json

from kebyt5.generation.constraints import Choices, Constraint, ConstraintError, Grammar
from kebyt5.serving.problems import Problem
from kebyt5.serving.schemas import ConstraintSpec

MOST_BYTES = 65_536
"""Of labels together, an expression, a schema or a grammar."""


def requested_constraint(spec: ConstraintSpec) -> Constraint:
    """What a request asks for.

    Raises:
        ConstraintError: It is too large, cannot be read, or allows nothing.
    """
    texts = [*(spec.labels or []), spec.regex or "", spec.grammar or ""]
    size = sum(len(text.encode()) for text in [*texts, json.dumps(spec.json_schema)])
    if size > MOST_BYTES:
        raise ConstraintError(f"a constraint of {size} bytes; {MOST_BYTES} at most")
    if spec.labels is not None:
        return Choices([spec.labels])
    try:
        if spec.regex is not None:
            return Grammar.regex(spec.regex)
        if spec.json_schema is not None:
            return Grammar.json_schema(spec.json_schema)
        assert spec.grammar is not None
        return Grammar.lark(spec.grammar)
    except ImportError as error:
        raise Problem(
            501, "this server has no grammars; its owner has to pip install kebyt5[constraints]"
        ) from error


__all__ = ["requested_constraint"]
