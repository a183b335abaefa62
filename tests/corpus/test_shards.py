"""Shards return what was written, and never look complete when they are not."""

import errno
import json
import os
import resource
import signal
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.shards import Shard, Shards, ShardWriter
from kebyt5.errors import InputError
from tests.processes import Process

documents = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=20)


def write(folder, texts, prefix="0", **options):
    with ShardWriter(folder, prefix, **options) as writer:
        for text in texts:
            writer.write(text)
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@given(documents, st.integers(1, 60))
def test_documents_come_back_in_their_order(tmp_path_factory, texts, max_bytes):
    folder = write(tmp_path_factory.mktemp("corpus") / "train" / "a", texts, max_bytes=max_bytes)
    if not texts:
        assert not list(folder.iterdir())
        return
    shards = Shards(folder.parent)
    shards.verify()
    assert [text for shard in shards for text in shard] == texts
    assert shards.documents == len(texts)
    assert b"".join(s.data.tobytes() for s in shards) == "".join(t + "\n" for t in texts).encode()
    assert all(shard.bytes <= max_bytes or len(shard) == 1 for shard in shards)
    assert shards.bytes == sum(shard.bytes for shard in shards)


def test_files_are_a_function_of_the_documents(tmp_path):
    texts = [f"문서 {i}" for i in range(40)]
    first = contents(write(tmp_path / "a", texts, max_bytes=100))
    assert first == contents(write(tmp_path / "b", texts, max_bytes=100))
    # A task that is run again leaves nothing of its former run, and nothing else is touched.
    write(tmp_path / "a", ["다른 일"], prefix="0-00000")
    (tmp_path / "a" / "0-00007.bytes.incomplete").touch()
    write(tmp_path / "a", texts[:9], max_bytes=100)
    write(tmp_path / "c", texts[:9], max_bytes=100)
    write(tmp_path / "c", ["다른 일"], prefix="0-00000")
    assert contents(tmp_path / "a") == contents(tmp_path / "c")


def test_sources_are_the_folders_below_a_split(tmp_path):
    write(tmp_path / "news" / "2024", ["가"], "00001")
    write(tmp_path / "news" / "2023", ["나"], "00002")
    write(tmp_path / "film", ["다"])
    shards = Shards(tmp_path)
    assert list(shards.sources) == ["film", "news"]
    assert [shard[0] for shard in shards.sources["news"]] == ["나", "가"]
    assert list(Shards(tmp_path / "film").sources) == ["film"]
    same = Shards(tmp_path).fingerprint
    assert shards.fingerprint == same
    write(tmp_path / "film", ["라"])
    assert Shards(tmp_path).fingerprint != same


def test_sources_may_be_links_to_other_folders(tmp_path):
    with ShardWriter(tmp_path / "elsewhere", "0") as writer:
        writer.write("문서")
    (tmp_path / "train").mkdir()
    for name in ("film", "law"):
        (tmp_path / "train" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "around").symlink_to(tmp_path)
    shards = Shards(tmp_path / "train")
    assert list(shards.sources) == ["film", "law"]
    assert len(list(shards)) == 2


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    with ShardWriter(tmp_path / "train" / "film", "0") as writer:
        writer.write("문서")
    (tmp_path / "train" / "law").mkdir()
    listed = os.scandir

    def refuse(path):
        if Path(path).name == "law":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="law: cannot be read: Permission denied; let this user"):
        Shards(tmp_path / "train")


def test_an_index_beyond_the_documents_is_an_error(tmp_path):
    (shard,) = Shards(write(tmp_path / "a", ["가", "나"]))
    assert shard.offsets.dtype == np.uint64
    assert shard.offsets.tolist() == [0, 4, 8]
    for number in (-1, 2):
        with pytest.raises(IndexError):
            shard[number]


def test_a_text_that_is_no_document_is_refused(tmp_path):
    with ShardWriter(tmp_path, "0") as writer:
        with pytest.raises(ValueError, match="empty"):
            writer.write("")
        with pytest.raises(UnicodeEncodeError):
            writer.write("\ud800")
        writer.write("가")
    assert list(*Shards(tmp_path)) == ["가"]
    for wrong in ("", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="prefix"):
            ShardWriter(tmp_path, wrong)


@pytest.mark.parametrize("suffix", [".bytes", ".index"])
def test_a_damaged_file_is_named(tmp_path, suffix):
    write(tmp_path / "a", ["온전한 문서"])
    write(tmp_path / "b", ["가나다", "라마바"])
    path = tmp_path / "b" / f"0-00000{suffix}"
    whole = path.read_bytes()

    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"b/0-00000{suffix}: {len(whole) - 1} bytes long"):
        Shards(tmp_path)
    path.unlink()
    if suffix == ".bytes":
        with pytest.raises(InputError, match=rf"b/0-00000{suffix}: missing"):
            Shards(tmp_path)
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    shards = Shards(tmp_path)
    shards.verify(0, 2)
    with pytest.raises(InputError, match=rf"b/0-00000{suffix}: its checksum"):
        shards.verify(1, 2)
    path.write_bytes(whole)
    Shards(tmp_path).verify()


@pytest.mark.parametrize("manifest", ["", "{}", '{"format": "other"}', "[]"])
def test_a_damaged_manifest_is_named(tmp_path, manifest):
    path = write(tmp_path, ["가"]) / "0-00000.manifest.json"
    path.write_text(manifest)
    with pytest.raises(InputError, match=r"0-00000\.manifest\.json: not a byte-shard manifest"):
        Shard(path)


def test_a_folder_without_whole_shards_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Shards(tmp_path / "none")
    with pytest.raises(InputError, match="no shards here"):
        Shards(tmp_path)
    write(tmp_path / "a", ["가"], "0")
    (tmp_path / "a" / "0-00000.manifest.json").rename(tmp_path / "manifest")
    with pytest.raises(InputError, match=r"0-00000\.bytes: this shard lacks"):
        Shards(tmp_path)
    write(tmp_path / "a", ["가"], "0")
    (tmp_path / "a" / "1-00000.bytes.incomplete").touch()
    with pytest.raises(InputError, match=r"1-00000\.bytes\.incomplete: this shard is unfinished"):
        Shards(tmp_path)


def test_whole_shards_of_a_build_that_has_not_ended_are_refused(tmp_path, monkeypatch):
    write(tmp_path / "train" / "a", ["가"])
    assert Shards(tmp_path / "train").documents == 1  # by no build
    (tmp_path / ".work").mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "train", tmp_path / "train" / "a", tmp_path, "train"):
        with pytest.raises(InputError, match=r"no corpus.json, so the build .* has not finished"):
            Shards(folder)
    (tmp_path / "corpus.json").touch()
    assert Shards(tmp_path / "train").documents == 1


def test_an_error_leaves_only_whole_shards(tmp_path):
    def fail():
        with ShardWriter(tmp_path, "0", max_bytes=10) as writer:
            for text in ("가나다", "라마바", "사아자"):
                writer.write(text)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [list(shard) for shard in Shards(tmp_path)] == [["가나다"], ["라마바"]]
    assert len(list(tmp_path.iterdir())) == 6


def write_on_a_small_disk(folder):
    """Writes under a limit on the size of files, which simulates a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    write(folder, ["가" * 4_000, "나" * 9_000], max_bytes=15_000)


def test_a_full_disk_is_one_clear_line(tmp_path):
    said = Process(write_on_a_small_disk, tmp_path).output()
    assert f"InputError: {tmp_path}/0-00001: cannot be written: {os.strerror(errno.EFBIG)}" in said
    # The shard before is whole, and of the other nothing is left.
    assert [list(shard) for shard in Shards(tmp_path)] == [["가" * 4_000]]
    assert len(list(tmp_path.iterdir())) == 3


def test_no_room_at_all_says_what_to_do(tmp_path, monkeypatch):
    def full(path, mode):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr("kebyt5.corpus.shards.open", full, raising=False)
    with pytest.raises(InputError, match=r"0-00000.*No space left on device; make room and run"):
        write(tmp_path, ["가"])


def write_without_end(folder):
    write(folder, (f"{number} " + "가" * 1_000 for number in count()), max_bytes=50_000)


def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path):
    process = Process(write_without_end, tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.json"))) < 20:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    for manifest in tmp_path.glob("*.json"):
        shard = Shard(manifest)
        shard.verify()
        assert json.loads(manifest.read_text())["documents"] == len(list(shard))
    if len(list(tmp_path.glob("*.bytes*"))) > len(list(tmp_path.glob("*.json"))):
        with pytest.raises(InputError, match=r"unfinished|lacks"):
            Shards(tmp_path)
    write(tmp_path, ["새로"])
    assert [list(shard) for shard in Shards(tmp_path)] == [["새로"]]
