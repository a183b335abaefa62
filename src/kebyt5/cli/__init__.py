"""The `kebyt5` command line. Each command is one file that parses options, calls and prints."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.text import Text

from kebyt5.cli.bench import bench
from kebyt5.cli.convert import convert
from kebyt5.cli.corpus import corpus
from kebyt5.cli.evaluate import evaluate
from kebyt5.cli.export import export
from kebyt5.cli.fill import fill
from kebyt5.cli.finetune import finetune
from kebyt5.cli.merge import merge
from kebyt5.cli.playground import playground
from kebyt5.cli.predict import predict
from kebyt5.cli.preset import Preset
from kebyt5.cli.pretrain import pretrain
from kebyt5.cli.quantize import quantize
from kebyt5.cli.report import report
from kebyt5.cli.serve import serve
from kebyt5.cli.tasks import tasks
from kebyt5.errors import InputError, one_line
from kebyt5.provenance import source_commit
from kebyt5.yaml_files import load_yaml

_TALK = ("`is_gradient_checkpointing` is deprecated", "Could not find a config file in")
"""How warnings of PEFT begin that are not for its users: an old name of Transformers, and a base
model that is none on the hub."""

_WITHOUT_MODELS = ("kebyt5.cli.corpus", "kebyt5.cli.report", "kebyt5.cli.tasks")
"""Commands that compute nothing with PyTorch."""

app = App(
    name="kebyt5",
    help="""Korean token-free language models, from raw text to a running service.

    Start here, offline: `kebyt5 predict --help`, or `bash scripts/demo.sh` in the repository.
    """,
    help_format="markdown",
)
for command in (
    corpus,
    pretrain,
    fill,
    finetune,
    evaluate,
    predict,
    report,
    tasks,
    merge,
    convert,
    export,
    quantize,
    serve,
    playground,
    bench,
):
    app.command(command)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
) -> None:
    """Runs a command.

    Args:
        tokens: The command and its options.
        config: YAML file with options, such as the `config.yaml` of a run; options on the command
            line override it.
    """
    if config is not None:
        _require_section(config, tokens)
        app.config = (Preset(config, must_exist=True),)
    command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    if command.__module__.startswith("kebyt5.") and command.__module__ not in _WITHOUT_MODELS:
        _prepare_models()
    command(*bound.args, **bound.kwargs)


def _prepare_models() -> None:
    """Sets up the process for computing; other commands need not wait for these imports."""
    from transformers.utils.logging import disable_progress_bar

    from kebyt5.process import prepare_process

    prepare_process()
    disable_progress_bar()  # hides bars for loading and saving weights


def _require_section(config: Path, tokens: Sequence[str]) -> None:
    """Refuses a file without options for the command; cyclopts would pass over it."""
    content = load_yaml(config, "options")  # whose errors name the line, other than cyclopts' own
    command = tokens[0] if tokens else ""
    if command in app and isinstance(content, dict) and command not in content:
        found = ", ".join(map(str, content))[:100] or "nothing"
        raise InputError(
            f"{config}: has no section {command}; put its options under `{command}:`"
            f" (found: {found})"
        )


def _show_notices() -> None:
    """Shows what the packages log on stderr, where no other handler is set up, as for a server.

    The last resort of `logging` prints the message alone, above a progress bar if there is one.
    """
    assert logging.lastResort is not None
    logging.lastResort.setLevel(logging.INFO)
    logging.getLogger("kebyt5").setLevel(logging.INFO)


def main() -> None:
    """Runs the command line; an error in the input is one line on stderr and exit code 2."""
    source_commit()  # looked up now, since the command may write it hours later
    _show_notices()
    for talk in _TALK:
        warnings.filterwarnings("ignore", talk)
    try:
        app.meta(exit_on_error=False, print_error=False)
    except (InputError, CycloptsError) as error:
        message = Text.assemble(("error: ", "red"), one_line(error))
        Console(stderr=True).print(message, soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:  # such as of `| head`; what is left to print has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


__all__ = ["app", "main"]
