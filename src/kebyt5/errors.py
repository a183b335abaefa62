"""The exceptions for input that a person can fix, and how their messages are put together.

The CLI prints the message and exits with code 2.
"""


class InputError(ValueError):
    """A file, an option or a checkpoint is invalid.

    The message is one line that names the place (file, line) and the remedy.
    """


class CheckpointError(InputError):
    """A checkpoint cannot be loaded; the message names it, the cause and the remedy."""


def one_line(text: object) -> str:
    """Returns a text, such as the message of another library's error, on one line."""
    return " ".join(str(text).split())


def option(name: str) -> str:
    """Returns the command line's option for a setting: `--batch-size` for `batch_size`."""
    return f"--{name.replace('_', '-')}"
