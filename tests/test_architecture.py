"""Packages import only those above them in docs/architecture.md; interfaces list their names."""

import ast
import re
from pathlib import Path

import pytest

import kebyt5

SOURCE = Path(kebyt5.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "architecture.md"
TABLE, *_ = PAGE.read_text(encoding="utf-8").split("\n## ")
PACKAGES = re.findall(r"^\| `(\w+)` \|", TABLE, re.MULTILINE)


def imported(file: Path) -> set[str]:
    """The packages of kebyt5 that a file imports, also within functions."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    parts = (module.split(".") for module in modules)
    return {name[1] for name in parts if name[0] == "kebyt5" and len(name) > 1}


def test_the_table_has_every_package():
    assert set(PACKAGES) == {path.parent.name for path in SOURCE.glob("*/__init__.py")}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_imports_only_those_above_it(name):
    below = set(PACKAGES[PACKAGES.index(name) + 1 :])
    for file in (SOURCE / name).rglob("*.py"):
        assert not imported(file) & below, file


def test_interfaces_alone_list_their_names():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.parent.glob("api/*.md"))
    shown = set(re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE))
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        module = ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts)
        is_interface = module in shown or (file.name == "__init__.py" and len(tree.body) > 1)
        lists = any(ast.unparse(node).startswith("__all__ = ") for node in tree.body)
        assert lists == is_interface, file
