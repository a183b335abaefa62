"""Reading options from a file, which those on the command line override."""

from cyclopts import App, ArgumentCollection
from cyclopts.config import Yaml

from kebyt5.yaml_files import at_home


class Preset(Yaml):
    """A YAML file with options; the command line overrides it, in a mapping entry by entry.

    cyclopts itself takes a mapping, such as `--weights`, entirely from one of the two. A path may
    begin with `~/`, which on the command line the shell replaces.
    """

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Adds the options of the file that the command line does not have."""
        given = [
            (argument, argument.tokens)
            for argument in arguments
            if argument.tokens and all(token.keys for token in argument.tokens)
        ]
        for argument, _ in given:
            argument.tokens = []
        super().__call__(app, commands, arguments)
        for argument in arguments:
            argument.tokens = [
                token if token.source == "cli" else token.evolve(value=at_home(token.value))
                for token in argument.tokens
            ]
        for argument, tokens in given:
            known = {(), *(token.keys for token in tokens)}
            argument.tokens = [*tokens, *(t for t in argument.tokens if t.keys not in known)]
