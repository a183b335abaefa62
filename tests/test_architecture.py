"""A package imports only those above it in the table of docs/architecture.md."""

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
