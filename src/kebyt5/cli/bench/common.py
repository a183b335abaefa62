"""Options and output that the commands of `kebyt5 bench` share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from cyclopts import Parameter
from rich.console import Console
from rich.markdown import Markdown

from kebyt5.errors import InputError

Size = Literal["tiny", "small", "base", "large"]
Several = Parameter(consume_multiple=True, negative=())


def chosen_alternatives(chosen: Sequence[str] | None) -> list[str]:
    """Returns the names of the alternatives to compare, in the order of the tables.

    Args:
        chosen: Names to choose; None for all that are installed.

    Raises:
        InputError: A chosen alternative is unknown or not installed.
    """
    from kebyt5.bench.alternatives import ALTERNATIVES

    for name in chosen or ():
        if name not in ALTERNATIVES:
            raise InputError(f"unknown alternative {name!r}; known: {', '.join(ALTERNATIVES)}")
        if not ALTERNATIVES[name].is_installed():
            raise InputError(f"{name} is not installed; `pip install kebyt5[bench]` has it")
    if chosen:
        return [name for name in ALTERNATIVES if name in chosen]
    missing = [name for name in ALTERNATIVES if not ALTERNATIVES[name].is_installed()]
    if missing:
        message = f"left out: {', '.join(missing)}; `pip install kebyt5[bench]` has them"
        Console(stderr=True).print(message)
    return [name for name in ALTERNATIVES if name not in missing]


def report(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], output: Path | None
) -> None:
    """Prints a Markdown table with its provenance and, if asked, writes it to a file."""
    from kebyt5.bench.report import made_with, table

    publish("\n".join([f"# {title}", "", *table(head, rows), "", made_with(), ""]), output)


def publish(text: str, output: Path | None, picture: str | None = None) -> None:
    """Prints a Markdown page and, if asked, writes it to a file with a plot below its title."""
    from kebyt5.output import write_text

    Console().print(Markdown(text))
    if output:
        title, _, rest = text.partition("\n")
        shown = f"\n![{title.removeprefix('# ')}]({picture})\n" if picture else ""
        write_text(output, f"{title}\n{shown}{rest}")
        print(f"Written to {output}")


def publish_in(
    folder: Path | None, name: str, text: str, plot: Callable[[Path], None] | None
) -> None:
    """Prints a page and, if there is a folder, writes it there under its name, with its plot."""
    if folder is None:
        publish(text, None)
        return
    picture = f"{name}.png" if plot else None
    if plot and picture:
        plot(folder / picture)
    publish(text, folder / f"{name}.md", picture)
