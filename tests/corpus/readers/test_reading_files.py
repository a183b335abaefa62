"""Files are found, opened and decompressed; errors name the file."""

import bz2
import gzip
import io
import lzma
import os
import re
import sys
import tarfile
import tracemalloc
import zipfile

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebyt5.corpus.readers import get_reader
from kebyt5.corpus.readers.files import NotText, decode, find_files, read_lines
from kebyt5.corpus.tally import Tally
from kebyt5.errors import InputError

SENTENCES = "산길을 따라 천천히 걸었다.\n\n바람이 불었다."


def read(path, **options):
    return [document.text for document in get_reader("text")(**options).read(str(path))]


def test_paths_are_files_folders_or_patterns(tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [f"{tmp_path}/{name}" for name in ("a.txt", "b.txt", "sub/c.txt")]
    assert find_files(str(tmp_path)) == names
    assert find_files(f"{tmp_path}/*.txt") == names[:2]
    assert find_files(f"{tmp_path}/**/*.txt") == names
    (tmp_path / ".hidden.txt").touch()
    assert find_files(f"{tmp_path}/*") == find_files(f"{tmp_path}/**") == names
    assert find_files(names[1]) == names[1:2]
    assert find_files(f"{tmp_path}/sub/.hidden") == [f"{tmp_path}/sub/.hidden"]
    for nothing in ("none.txt", "*.json"):
        with pytest.raises(InputError, match="no such file, or a pattern that matches none"):
            find_files(f"{tmp_path}/{nothing}")


def test_names_may_look_like_patterns_and_lie_below_hidden_folders(tmp_path):
    folder = tmp_path / ".data" / "[원천]신문"
    folder.mkdir(parents=True)
    path = folder / "[1월]?.txt"
    path.write_text(SENTENCES)
    for place in (path, folder, folder.parent, f"{tmp_path}/.data/*/*.txt"):
        (found,) = find_files(str(place))
        assert found == str(path)
        assert read(found) == SENTENCES.split("\n\n")


def test_remote_paths_keep_their_protocol():
    import fsspec

    with fsspec.open("memory://corpus/a.txt", "w") as file:
        file.write(SENTENCES)
    (path,) = find_files("memory://corpus/*.txt")
    assert path == "memory:///corpus/a.txt"
    assert read(path) == SENTENCES.split("\n\n")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("s3://bucket/x/*.txt", "s3fs.*; pip install s3fs for s3://, gcsfs for gs://"),
        ("gs://bucket/x.txt", "gcsfs.*; pip install s3fs for s3://, gcsfs for gs://"),
        ("klingon://bucket/x.txt", "cannot be reached: .*klingon; check the address"),
        ("https://127.0.0.1:1/x.txt", "cannot be reached: .*; check the address"),
        ("https://127.0.0.1:1/*.txt", "cannot be reached: .*; check the address"),
    ],
)
def test_what_cannot_be_reached_is_named_with_a_remedy(path, problem, monkeypatch):
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"^{re.escape(path)}: .*{problem}"):
        find_files(path)


ZSTD = pyarrow.Codec("zstd")
PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: ZSTD.compress(data, asbytes=True),
    # As several processes, or `cat`, write it.
    "joined.zst": lambda data: b"".join(
        ZSTD.compress(part, asbytes=True) for part in (data[:10], data[10:])
    ),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed_files_are_read_whole_or_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    packed = PACKED[suffix](SENTENCES.encode() * 1000)
    path.write_bytes(packed)
    assert "\n\n".join(read(path)) == SENTENCES * 1000
    path.write_bytes(packed[:-20])
    with pytest.raises(InputError, match=f"a.{suffix}: (damaged|cannot be read)"):
        read(path)


@pytest.mark.parametrize(
    "suffix", ["tar", "TAR", "tar.gz", "tgz", "tbz2", "txz", "tar.zst", "TZST"]
)
def test_archives_are_read_whatever_their_compression(tmp_path, suffix):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", encoding="cp949") as archive:
        entry = tarfile.TarInfo("원천/나.txt")
        entry.size = len(SENTENCES.encode())
        archive.addfile(entry, io.BytesIO(SENTENCES.encode()))
    kinds = {"gz": "gz", "tgz": "gz", "tbz2": "bz2", "txz": "xz", "zst": "zst", "tzst": "zst"}
    pack = PACKED.get(kinds.get(suffix.lower().split(".")[-1], ""), lambda data: data)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(pack(tar.getvalue()))
    documents = list(get_reader("text")().read(str(path)))
    assert [each.text for each in documents] == SENTENCES.split("\n\n")
    assert [each.id for each in documents] == [f"{path}/원천/나.txt:{line}" for line in (1, 3)]


def test_links_in_an_archive_are_passed_over(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "a.txt").write_text(SENTENCES)
    (folder / "hard.txt").hardlink_to(folder / "a.txt")
    (folder / "soft.txt").symlink_to("a.txt")
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder)
        kinds = [entry.type for entry in archive.getmembers()]
    assert sorted(kinds) == [tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE]
    assert read(path) == SENTENCES.split("\n\n")


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_names_in_zip_files_may_be_in_an_encoding_that_is_not_named(tmp_path, encoding):
    path = tmp_path / "a.zip"
    name = "원천/첫째.txt".encode(encoding)
    placeholder = "x" * len(name)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(placeholder, SENTENCES)
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), name))
    documents = list(get_reader("text")().read(str(path)))
    assert [each.id for each in documents] == [f"{path}/원천/첫째.txt:{line}" for line in (1, 3)]


@pytest.mark.parametrize("suffix", ["GZ", "ZIP"])
def test_endings_may_be_in_capitals(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "GZ":
        path.write_bytes(gzip.compress(SENTENCES.encode()))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", SENTENCES)
    assert read(path) == SENTENCES.split("\n\n")


def test_names_may_be_cp949(tmp_path):
    path = os.fsencode(tmp_path) + "/원천.txt".encode("cp949")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SENTENCES)
    (found,) = find_files(str(tmp_path))
    assert os.fsencode(found) == path
    documents = list(get_reader("text")().read(found))
    assert [each.text for each in documents] == SENTENCES.split("\n\n")
    assert documents[0].id == f"{tmp_path}/원천.txt:1"


def test_a_damaged_xz_file_is_named(tmp_path):
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(SENTENCES.encode())[:-2] + b"??")
    with pytest.raises(InputError, match=r"a.xz: damaged: .*; get the file again"):
        read(path)


@pytest.mark.parametrize(
    ("offset", "value", "problem"),
    [(6, 1, "password required"), (8, 9, "compression")],
    ids=["password", "deflate64"],
)
def test_zip_files_that_python_cannot_read_are_named(tmp_path, offset, value, problem):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.txt", SENTENCES)
    data = bytearray(path.read_bytes())
    # The same field stands before the member and, two bytes further on, in the directory.
    for place in (data.index(b"PK\3\4") + offset, data.index(b"PK\1\2") + offset + 2):
        data[place] = value
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"a.zip/b.txt: .*{problem}.*; unpack it with another"):
        read(path)


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_parts_of_lines_add_up_to_the_file(lines, limit):
    import io

    data = b"\n".join(line.replace(b"\r", b"") for line in lines)
    found = {}
    for number, part, goes_on in read_lines(io.BytesIO(data), limit):
        assert len(part) <= limit
        begun, ended = found.get(number, (b"", False))
        assert not ended
        found[number] = (begun + part, not goes_on)
    assert all(ended for _, ended in found.values())
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line for line, _ in found.values()] == expected


def test_a_line_of_100_mb_needs_no_more_memory_than_the_limit(tmp_path):
    path = tmp_path / "a.txt"
    with open(path, "w") as file:
        for _ in range(100):
            file.write("한" * 349_525)  # 1 MiB
    for name, count in (("text", 101), ("jsonl", 1)):
        reader = get_reader(name)(max_bytes=1 << 20)
        tracemalloc.start()
        assert sum(1 for _ in reader.read(str(path))) == pytest.approx(count, abs=1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20 << 20


# Encodings

KOREAN = "국경의 긴 터널을 빠져나오자 눈의 고장이었다."


def test_cp949_is_named_with_the_option_that_then_works(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(f"good\n\n{KOREAN}\n\n똠방각하".encode("cp949"))
    with pytest.raises(InputError) as refused:
        read(path)
    assert str(refused.value) == (
        f"{path}:3: not UTF-8 but CP949 (EUC-KR); set `encoding: cp949` for this source"
    )
    assert read(path, encoding="cp949") == ["good", KOREAN, "똠방각하"]
    path.write_bytes((KOREAN * 1000).encode("cp949"))
    with pytest.raises(InputError, match=f"{path}:1: not UTF-8 but CP949"):
        read(path, max_bytes=1024)
    # One such line among others of UTF-8 is a damaged line.
    path.write_bytes(f"{KOREAN}\n".encode() + f"{KOREAN}\n".encode("cp949") + KOREAN.encode())
    documents = list(get_reader("text")(documents="line").read(str(path)))
    assert [each.metadata.get("defect") for each in documents] == [None, "not utf-8", None]
    assert "CP949" in documents[1].metadata["detail"]


def test_utf8_in_a_source_of_cp949_is_named_too(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(chr(code) for code in range(0xAC00, 0xAC40)))
    with pytest.raises(InputError, match="UTF-8, not cp949; set `encoding: utf-8`"):
        read(path, encoding="cp949")
    path.write_text("최고\n정말 재미있는 영화였다\n")  # the first line has a meaning in CP949, too
    assert "최고".encode().decode("cp949")
    with pytest.raises(InputError, match=r"a.txt:2: UTF-8, not cp949"):
        read(path, encoding="cp949", documents="line")


def test_utf16_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(KOREAN.encode("utf-16"))
    with pytest.raises(InputError, match=r"a.txt:1: UTF-16, not utf-8; convert it first \(iconv"):
        read(path)
    with pytest.raises(InputError, match="has other line ends than ASCII"):
        get_reader("text")(encoding="utf-16")
    with pytest.raises(InputError, match="unknown"):
        get_reader("text")(encoding="klingon")


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=4, max_size=30))
def test_damaged_utf8_is_not_taken_for_cp949(text):
    damaged = text.encode()[:-1]
    with pytest.raises(NotText):
        decode(damaged, "utf-8", "a:1")


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_damaged_byte_costs_its_part_of_a_long_line_only(padding, tmp_path):
    path = tmp_path / "a.txt"
    line = b"a" * padding + b"\xff" + ("가나다라마" * 2000).encode()
    path.write_bytes(line)
    documents = list(get_reader("text")(max_bytes=1024).read(str(path)))
    defects = [each for each in documents if "defect" in each.metadata]
    assert len(defects) == 1
    kept = sum(len(each.text.encode()) for each in documents if each not in defects)
    assert len(line) - kept < 1024 + 3


def test_damaged_lines_are_defects(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(KOREAN.encode() + b"\n" + KOREAN.encode()[:-2] + b"\n" + KOREAN.encode())
    documents = list(get_reader("text")(documents="line").read(str(path)))
    assert [document.metadata.get("defect") for document in documents] == [None, "not utf-8", None]
    assert documents[1].id == f"{path}:2"
    assert documents[1].text.startswith(KOREAN[:-2])


def test_all_bytes_of_what_is_dropped_count(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "' + "가" * 5000)
    (document,) = get_reader("jsonl")().read(str(path))
    document.metadata["source"] = "a"
    tally = Tally(tmp_path)
    tally.count(document, document.metadata["defect"])
    assert tally.counts == {"a": {"not JSON": [1, path.stat().st_size]}}
