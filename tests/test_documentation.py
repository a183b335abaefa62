"""The commands and files in the documentation exist, and the site builds."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kebyt5.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """The `kebyt5` command lines in the page's shell blocks, continued lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("kebyt5 ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page):
    for command in commands(page):
        tokens = shlex.split(command, comments=True)[1:]
        if "--config" in tokens:  # read before the command itself is parsed
            at = tokens.index("--config")
            del tokens[at : at + 2]
        app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_both_readmes_show_the_same_commands():
    english, korean = (commands(page) for page in PAGES[:2])
    assert english == korean
    assert len(english) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_blank_is_left_to_fill_in(page):
    blanks = r"\b[A-Z]+_(?:MINUTES|OUTPUT\w*|TABLE|LINE|PICTURE)\b|TODO"
    assert not re.search(blanks, page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_site_builds_without_warnings(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {
        name: (tmp_path / name / "index.html").read_text(encoding="utf-8")
        for name in ("", "ko", "api/models", "api/inspection")
    }
    assert "토크나이저 없는" in pages["ko"]
    assert 'href="../models/"' in pages["ko"]
    assert 'src="../images/playground-blocks-dark.png"' in pages["ko"]
    assert "GBSWT5ForConditionalGeneration" in pages["api/models"]
    assert "<math" in pages["api/inspection"]
    for page in pages.values():
        assert not re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="https?:', page)
