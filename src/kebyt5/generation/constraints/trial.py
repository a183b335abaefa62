"""Compiling a grammar in a process of its own first, since nothing stops it in this one.

llguidance compiles the intersection of all patterns that `allOf` and `$ref` bring together at one
place of a JSON schema, or `&` in a terminal of Lark. Each of them can double the time and the
memory that this takes, and none of its limits counts that: a schema of a kilobyte can keep a
processor busy for days. It also follows chains of references by recursion, and some thousand of
them end the process. Before a limit is noticed, a long grammar takes hundreds of MB.
"""

import json
import signal
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

MAX_UNTRIED = 4_000
"""Most characters of a grammar that is compiled without a trial; too few for a long chain."""

_PROCESSOR_SECONDS = 5
_SECONDS = 30
_MEMORY = 4 << 30

_STACK = 4 << 20
"""Bytes of stack for the trial: half of what threads have, as other grammars go deeper later."""

_PROGRAM = """
import json, sys, threading
seconds, memory, stack, limits = json.loads(sys.argv[1])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
except ImportError:
    pass  # Windows
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
grammar = sys.stdin.buffer.read().decode()
def compile():
    limited = LLParserLimits(**limits, verbose_errors=False)
    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0, limits=limited)
    bits = b"" if matcher.is_error() else matcher.compute_bitmask()
    if matcher.is_error():
        return print(matcher.get_error())
    for byte in range(256):  # most that explode do so after the first byte
        if bits[byte // 8] >> byte % 8 & 1:
            after = matcher.deep_copy()
            after.consume_token(byte)
            after.compute_bitmask()
            error = after.get_error()
            if error and "NoExtensionBias" not in error:  # which is a dead end
                return print(error)
threading.stack_size(stack)
thread = threading.Thread(target=compile)
thread.start()
thread.join()
"""


def require_compilable(grammar: str) -> None:
    """Compiles a grammar in another process, which ends where it takes too much.

    Args:
        grammar: In llguidance's own format.

    Raises:
        ConstraintError: It is refused, takes more than five seconds of a processor or 4 GB, or its
            references go too deep.
    """
    settings = json.dumps([_PROCESSOR_SECONDS, _MEMORY, _STACK, LIMITS])
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, settings],  # no modules of the working folder
            input=grammar.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        if getattr(error, "returncode", 0) == -signal.SIGSEGV:
            raise ConstraintError(
                "the grammar goes too deep: a chain of hundreds of its parts refer to each other"
            ) from error
        raise ConstraintError(
            "the grammar takes too long to compile: too many of its patterns apply to one string"
            " (by & or allOf, for example); write them as one pattern"
        ) from error
    require_no_error(done.stdout.decode(errors="replace").strip())


def require_no_error(message: str) -> None:
    """Refuses a grammar about which llguidance says something.

    Raises:
        ConstraintError: The message is not empty.
    """
    if message.startswith("panic"):
        raise ConstraintError(
            "the grammar is refused: llguidance cannot handle it; write it simpler"
        )
    if message:
        raise ConstraintError(f"the grammar is refused: {' '.join(message.split())[:300]}")
