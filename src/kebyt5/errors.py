"""The one exception for input that a person can mend; the CLI prints it and exits with code 2."""


class InputError(ValueError):
    """A file, an option or a checkpoint is not what it has to be.

    The message is one line that names the place (file, line) and the remedy.
    """
