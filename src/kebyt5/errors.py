"""The exception for input that a person can fix; the CLI prints it and exits with code 2."""


class InputError(ValueError):
    """A file, an option or a checkpoint is invalid.

    The message is one line that names the place (file, line) and the remedy.
    """
