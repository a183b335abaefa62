"""Progress bars are shown on terminals only, and never on stdout."""

import sys

import pytest

from kebyt5.progress import progress_bars, track


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("title", ["", "Counting"])
def test_bars_are_on_a_terminal_alone_and_never_on_stdout(capsys, monkeypatch, is_terminal, title):
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)
    assert list(track(range(3), title)) == [0, 1, 2]
    with progress_bars(bool(title)) as bars:
        bars.advance(bars.add_task(title, total=1))
    out, error = capsys.readouterr()
    assert out == ""
    assert ("Counting" in error) == (is_terminal and bool(title))
    assert bool(error) == (is_terminal and bool(title))
