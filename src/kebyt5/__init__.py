"""Korean token-free language models on today's Transformers.

Importing the package registers GBST-KEByT5 with Transformers' Auto classes, so that published
checkpoints load with `AutoModelForSeq2SeqLM.from_pretrained` and no remote code. Plain KEByT5
checkpoints are T5 to the Auto classes; `kebyt5.load` makes a `KEByT5ForConditionalGeneration` of
them, which adds the z-loss and refuses damaged files.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kebyt5.errors import CheckpointError
    from kebyt5.models.configuration_gbswt5 import GBSWT5Config
    from kebyt5.models.loading import load
    from kebyt5.models.modeling_gbswt5 import (
        GBSWT5EncoderModel,
        GBSWT5ForConditionalGeneration,
        GBSWT5Model,
    )
    from kebyt5.models.modeling_kebyt5 import KEByT5ForConditionalGeneration
    from kebyt5.models.tokenization_kebyt5 import ByteTokenizer
    from kebyt5.process import keep_memory, prepare_process

__version__ = "0.1.0"

_HOMES = {
    "ByteTokenizer": "kebyt5.models.tokenization_kebyt5",
    "CheckpointError": "kebyt5.errors",
    "GBSWT5Config": "kebyt5.models.configuration_gbswt5",
    "GBSWT5EncoderModel": "kebyt5.models.modeling_gbswt5",
    "GBSWT5ForConditionalGeneration": "kebyt5.models.modeling_gbswt5",
    "GBSWT5Model": "kebyt5.models.modeling_gbswt5",
    "KEByT5ForConditionalGeneration": "kebyt5.models.modeling_kebyt5",
    "keep_memory": "kebyt5.process",
    "load": "kebyt5.models.loading",
    "prepare_process": "kebyt5.process",
}
"""Where each public name is defined."""


def _import(name: str) -> Any:
    """Imports a public name from the module that defines it."""
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


if not TYPE_CHECKING:  # else every name would seem to exist

    def __getattr__(name: str) -> Any:
        """Imports a public name when it is first asked for (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _import(name)


def __dir__() -> list[str]:
    """Lists public names that are not imported yet as well."""
    return sorted({*globals(), *_HOMES})


_COMMAND = "KEBYT5_COMMAND"
"""Environment variable by which the processes that the command line starts know what they are."""


def _is_command() -> bool:
    """Whether this process is `kebyt5` or `python -m kebyt5`, or one that these have started."""
    if _COMMAND in os.environ:
        return True
    script = sys.argv[0] if sys.argv else ""
    if script == "-m":  # as long as Python looks for the module
        return not {"kebyt5", "-mkebyt5"}.isdisjoint(sys.orig_argv)
    return Path(script).stem == "kebyt5"


# The command line imports models when a command needs them, as importing Transformers' takes
# seconds, which is long for `kebyt5 --help`, and memory in every worker of `corpus build`.
if _is_command():
    os.environ[_COMMAND] = "1"
else:
    import_module("kebyt5.models.auto")
    for _name in _HOMES:
        _import(_name)

__all__ = [
    "ByteTokenizer",
    "CheckpointError",
    "GBSWT5Config",
    "GBSWT5EncoderModel",
    "GBSWT5ForConditionalGeneration",
    "GBSWT5Model",
    "KEByT5ForConditionalGeneration",
    "keep_memory",
    "load",
    "prepare_process",
]
