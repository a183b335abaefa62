"""Compiling a grammar in a process of its own first, since nothing stops it in this one.

llguidance compiles the intersection of all patterns that `allOf` and `$ref` bring together at one
place of a JSON schema, or `&` in a terminal of Lark. Each of them can double the time and the
memory that this takes, and none of its limits counts that: a schema of a kilobyte can keep a
processor busy for days.
"""

import json
import subprocess
import sys
from typing import Any

from kebyt5.generation.constraints.constraint import ConstraintError

LIMITS: dict[str, Any] = {
    "max_items_in_row": 1000,
    "initial_lexer_fuel": 200_000,
    "step_lexer_fuel": 100_000,
    "step_max_items": 20_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 100_000,
}
"""Limits of llguidance; a grammar beyond them would take hundreds of MB, or seconds per byte."""

MAX_UNTRIED_PATTERNS = 6
"""Most patterns and formats of a schema that is compiled without a trial, within milliseconds."""

_PROCESSOR_SECONDS = 5
_SECONDS = 30
_MEMORY = 4 << 30

_PROGRAM = """
import json, sys
seconds, memory, limits = json.loads(sys.argv[1])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
except ImportError:
    pass  # Windows
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
grammar = sys.stdin.buffer.read().decode()
LLMatcher(LLTokenizer("byte"), grammar, log_level=0, limits=LLParserLimits(**limits))
"""


def require_compilable(grammar: str) -> None:
    """Compiles a grammar in another process, which ends where it takes too much.

    Args:
        grammar: In llguidance's own format.

    Raises:
        ConstraintError: It takes more than five seconds of a processor or 4 GB.
    """
    settings = json.dumps([_PROCESSOR_SECONDS, _MEMORY, LIMITS])
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, settings],  # no modules of the working folder
            input=grammar.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise ConstraintError(
            "the grammar takes too long to compile: too many of its patterns apply to one string"
            " (by & or allOf, for example); write them as one pattern"
        ) from error


__all__ = ["LIMITS", "MAX_UNTRIED_PATTERNS", "require_compilable"]
