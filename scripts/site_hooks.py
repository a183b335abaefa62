"""What the documentation site needs beside its plugins; mkdocs.yml names this file twice."""

import re
from html import unescape
from posixpath import dirname, join, normpath
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert
from mkdocs.structure.pages import Page

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)]+)\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Takes the links to files outside docs/, which hold in the repository only."""
    folder = dirname(page.file.src_uri)

    def keep(link: re.Match[str]) -> str:
        is_outside = normpath(join(folder, link[2])).startswith("../")
        return f"`{link[1]}`" if is_outside else link[0]

    return _LINK.sub(keep, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Turns formulas into MathML, which browsers set without a script."""
    return _FORMULA.sub(
        lambda match: convert(unescape(match[2]), "inline" if match[1] == "span" else "block"), html
    )


class Examples(Extension):
    """Reads the section `Example:` of a docstring as code, as it reads `Examples:`."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Renames the section."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
