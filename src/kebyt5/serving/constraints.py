"""Building the constraint that a request asks for."""

import json

from kebyt5.generation.constraints import Choices, Constraint, ConstraintError, Grammar
from kebyt5.serving.problems import Problem
from kebyt5.serving.schemas import ConstraintSpec

MAX_BYTES = 65_536
"""Largest constraint: all labels together, or a regular expression, schema or grammar."""


def requested_constraint(spec: ConstraintSpec) -> Constraint:
    """Builds the constraint that a request asks for.

    Raises:
        ConstraintError: It is too large, cannot be parsed, or allows nothing.
        Problem: With status 501, if grammars are not installed.
    """
    texts = [*(spec.labels or []), spec.regex or "", spec.grammar or ""]
    if spec.json_schema is not None:
        texts.append(json.dumps(spec.json_schema, ensure_ascii=False, separators=(",", ":")))
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_BYTES:
        raise ConstraintError(f"the constraint has {size} bytes; send at most {MAX_BYTES}")
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
            501,
            "this server does not support grammars; its owner has to pip install"
            " kebyt5[constraints]",
        ) from error
