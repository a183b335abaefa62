"""Outputs are complete or absent."""

import errno
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.torch import save_file

from kebyt5.errors import InputError
from kebyt5.output import (
    make_output_folder,
    new_folder,
    require_writable,
    save_figure,
    whole_folder,
    write_json,
    write_text,
)


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_picture_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "plot.png"
    save_figure(Figure(), path)
    whole = path.read_bytes()
    assert whole.startswith(b"\x89PNG")

    class Broken(Figure):
        def savefig(self, file, **options):
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        save_figure(Broken(), path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match=r"none/plot\.png: cannot be written"):
        save_figure(Figure(), tmp_path / "none" / "plot.png")


def test_a_folder_gets_its_files_when_all_are_written(tmp_path):

    def fail_half_way():
        with whole_folder(tmp_path) as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert not list(tmp_path.iterdir())
    with whole_folder(tmp_path) as folder:
        write_json(folder / "a.json", {"가": 1})
        (folder / "b.txt").touch()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.json", "b.txt"]
    assert '"가"' in (tmp_path / "a.json").read_text()


def test_weights_may_be_read_by_whoever_may_read_other_files(tmp_path):
    (tmp_path / "usual").touch()
    with whole_folder(tmp_path) as folder:
        save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
        (folder / "logs").mkdir()
        (folder / "logs" / "private").touch(mode=0o600)
    rights = {path.stat().st_mode for path in tmp_path.rglob("*") if path.is_file()}
    assert rights == {(tmp_path / "usual").stat().st_mode}


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / ".incomplete-1").mkdir()
    (tmp_path / ".incomplete-1" / "model.safetensors").touch()
    with whole_folder(tmp_path) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), SafetensorError("full")])
def test_a_full_disk_is_told_with_the_folder(tmp_path, error):
    def fail():
        with whole_folder(tmp_path) as folder:
            (folder / "new").touch()
            raise error

    with pytest.raises(InputError, match=f"{tmp_path}: cannot be written: .*; make room"):
        fail()
    assert not list(tmp_path.iterdir())


def test_output_folders_are_made_or_refused(tmp_path):
    new = make_output_folder(tmp_path / "a" / "b")
    assert new.is_dir()
    (new / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        make_output_folder(new)
    assert make_output_folder(new, may_continue=True) == new
    with pytest.raises(InputError, match="cannot be used"):
        make_output_folder(new / "file")
    with pytest.raises(InputError, match="cannot be written"):
        write_text(tmp_path / "none" / "a.txt", "")


def test_of_a_new_folder_nothing_is_left_on_an_error(tmp_path):
    path = tmp_path / "new" / "a"

    def fail():
        with new_folder(path) as folder:
            (folder / "b").write_text("c")
            raise ValueError("no model")

    for _ in range(2):
        with pytest.raises(ValueError, match="no model"):
            fail()
        assert not path.parent.exists()
    path.mkdir(parents=True)
    with pytest.raises(ValueError, match="no model"):
        fail()
    assert not list(path.iterdir())
    with new_folder(path) as folder:
        (folder / "b").write_text("c")
    assert (path / "b").read_text() == "c"


def test_links_are_followed_and_what_leads_nowhere_is_told(tmp_path):
    real, link, loop = tmp_path / "real.txt", tmp_path / "link.txt", tmp_path / "loop.txt"
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    loop.symlink_to(loop)
    for refuse in (require_writable, lambda path: write_text(path, "")):
        for path in (loop, tmp_path / ("a" * 300), tmp_path / "none" / "a", tmp_path):
            with pytest.raises(InputError, match="cannot be written"):
                refuse(path)


def test_rights_that_cannot_be_given_lose_nothing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with whole_folder(tmp_path) as folder:
        (folder / "a").write_text("kept")
    assert (tmp_path / "a").read_text() == "kept"
