"""Options from a file, below those on the command line."""

from cyclopts import App, ArgumentCollection
from cyclopts.config import Yaml


class Preset(Yaml):
    """A YAML file with options. What is on the command line wins, of a mapping entry by entry.

    cyclopts itself takes a mapping, such as `--weights`, from one of the two alone.
    """

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Puts the options of the file where the command line has none."""
        given = [
            (argument, argument.tokens)
            for argument in arguments
            if argument.tokens and all(token.keys for token in argument.tokens)
        ]
        for argument, _ in given:
            argument.tokens = []
        super().__call__(app, commands, arguments)
        for argument, tokens in given:
            known = {(), *(token.keys for token in tokens)}
            argument.tokens = [*tokens, *(t for t in argument.tokens if t.keys not in known)]


__all__ = ["Preset"]
